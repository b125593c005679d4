"""Measures how far the maps of each method can be trusted, for one classifier on some photos.

choose photos -> decode -> maps of all methods and baselines -> deletion, pointing, sanity checks -> sum up -> write
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from pipeline.atomic_files import make_folder
from pipeline.errors import DataError, StoppedError
from pipeline.labelled.splits import check_known
from pipeline.model.choose_tile import choose_tile, find_window_defects
from pipeline.model.open import open_model
from pipeline.trust.config import TrustConfig
from pipeline.trust.locate_evidence import locate_evidence
from pipeline.trust.map_measurer import MapMeasurer
from pipeline.trust.marked_photos import choose_photos
from pipeline.trust.read_samples import WindowRule
from pipeline.trust.result import TrustReport
from pipeline.trust.save_scales import save_scales
from pipeline.trust.summarise import summarise_maps
from pipeline.trust.verdict import save_verdict
from pipeline.trust.write import write_results

log = logging.getLogger(__name__)

_FEW_PHOTOS = 20


def trust(config: TrustConfig, *, stop: Callable[[], bool] = lambda: False) -> TrustReport:
    """Measure the maps of every method; write trust.json, trust.md, trust.parquet and trust.png.

    Args:
        config: all settings.
        stop: asked between photos; once true, the results so far are written. The photos come in random order, so
            these are a fair sample.

    Raises:
        DataError: no photos, no readable photo, or labels unknown to the model.
        ConfigError, ModelError: the settings or the model are wrong.
        StoppedError: stopped before two photos were measured; nothing is written.
    """
    # 1. the photos and the model
    photos = choose_photos(config)
    make_folder(config.out)
    model = open_model(config)
    classifier = model.load()
    check_known((photo.label for photo in photos if photo.label), classifier.labels)
    tile = choose_tile(config.tile, config.tile_overlap, model.checkpoint, model.find_decision())
    tile.log_reason()
    windows = None
    if tile.tiling is not None:
        classifier = classifier.for_windows()
        windows = WindowRule(tile.tiling, find_window_defects(classifier.labels, ()))
    log.info("%d photos; %s", len(photos), model.description)
    # 2. the measurement
    measurer = MapMeasurer(classifier, config, windows, stop)
    maps = [measured for photo_maps in measurer.measure_photos(photos) for measured in photo_maps]
    if stop() and len({measured.path for measured in maps}) < 2:
        raise StoppedError("stopped before two photos were measured; nothing was written")
    if not maps:
        raise DataError(f"data = {config.data}: no photo can be read; {measurer.failed} failed, see above")
    # 3. the report
    report = summarise_maps(maps, measurer.median_seconds(), config, failed=measurer.failed)
    report = replace(report, evidence=locate_evidence(report, config.seed))
    if report.photos < _FEW_PHOTOS:
        log.warning("measured on %d photos only: the intervals are wide; use %d or more",
                    report.photos, _FEW_PHOTOS)  # fmt: skip
    if not report.pointed and any(photo.is_marked for photo in photos):
        log.warning("pointing was not measured: the model gave no photo with a box or mask its right label")
    _log_evidence(report)
    settings = config.model_dump(mode="json") | {
        "precision": model.precision,
        "device": model.device,
        "tile": tile.size,
    }
    write_results(report, settings, config.out)
    if config.save:
        save_verdict(report, config, model)
        save_scales(photos, classifier, model, windows, stop)
    return report


def _log_evidence(report: TrustReport) -> None:
    evidence = report.evidence
    if evidence is not None:
        for sentence in evidence.sentences:
            log.log(logging.WARNING if evidence.suspects else logging.INFO, "%s", sentence)
