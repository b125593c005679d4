"""The run: a folder of photos in, a table and overlays out. The loop in `_process` shows all of it."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.model.checkpoint import check_family, resolve_checkpoint
from pipeline.model.device import choose_device, choose_precision
from pipeline.model.targets import Targets, choose_targets
from pipeline.overlays.draw import OverlayLook
from pipeline.overlays.writer import OverlayWriter
from pipeline.photos.discover import Discovery, discover
from pipeline.photos.loader import LoadSpec, PhotoLoader, available_cores
from pipeline.plan import Plan, fingerprint, make_plan, photo_fingerprint
from pipeline.progress import Progress, Stopwatch
from pipeline.records import ImageRef
from pipeline.report.drift import Profiler, changes, earlier_profiles, to_json
from pipeline.results.folder import ResultsFolder, check_source, done_files, report_knows_all, run_records
from pipeline.results.rows import RowBuilder
from pipeline.results.run_record import RunSummary, photos_left, run_record
from pipeline.results.table_writer import TableWriter

if TYPE_CHECKING:  # transformers takes seconds to import: only once there is something to do
    from pipeline.model.classifier import Classifier

log = logging.getLogger(__name__)


def run(config: RunConfig, *, stop: Callable[[], bool] = lambda: False) -> RunSummary:
    """Process a folder: one row and one overlay for each photo that is not done yet.

    Args:
        config: all settings.
        stop: asked between batches; once true, the open part is committed and the run ends, interrupted.

    Raises:
        VitrolloutError: nothing could be processed, or not all; what was committed stays.
    """
    clock = Stopwatch()
    with clock("discover"):
        found = find_photos(config)
    checkpoint = resolve_checkpoint(config.model)
    check_family(checkpoint)
    targets = choose_targets(config, checkpoint, found.refs)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    log.info(
        "model %s: %s; other photos need another --model; %s on %s",
        checkpoint.name, checkpoint.purpose, precision, device,
    )  # fmt: skip
    with ResultsFolder(config.out, config.input, rebind=config.rebind, repair=config.repair) as results:
        with clock("plan"):
            mark = fingerprint(config, checkpoint, precision, targets)
            mark_of = partial(photo_fingerprint, mark, targets)
            done = done_files(config.out)
            plan = make_plan(found.refs, done, mark_of, retry_failed=config.retry_failed, limit=config.limit)
            results.restamp(plan.touched, done)
        log.info("%d photos in %s, %d to process", len(found.refs), config.input, len(plan.pending))
        profiler = Profiler()
        if plan.pending:
            with clock("model"):
                from pipeline.model.classifier import load_classifier

                classifier = load_classifier(
                    checkpoint, device=device, precision=precision, input_size=config.input_size, rescale=config.rescale
                )
            rows = RowBuilder(
                classifier.labels, config.model, config.method[0], results.run_id, mark_of, targets.versus
            )
            _process(targets.check(plan.pending), classifier, targets, rows, results, profiler, config, clock, stop)
        profile = profiler.profile()
        news = changes(profile, earlier_profiles(run_records(config.out), mark, config.compare_runs))
        for sentence in news:
            log.warning("unlike the runs before: %s", sentence)
        summary = RunSummary(
            run_id=results.run_id,
            input=os.fspath(config.input),
            out=os.fspath(config.out),
            found=len(found.refs),
            done_before=plan.done + len(plan.touched),
            processed=profiler.photos,
            ok=profiler.labels.total(),
            failed=profiler.failed,
            unreadable_folders=len(found.unreadable),
            interrupted=stop(),
            seconds=round(clock.total(), 3),
            images_per_second=round(profiler.photos / clock.total(), 2),
            labels=dict(profiler.labels.most_common()),
            changes=news,
            seconds_by_stage=clock.by_stage(),
        )
        details = {"purpose": checkpoint.purpose, "precision": precision, "device": device, "fingerprint": mark}
        results.write_record(
            run_record(summary, config, unreadable=found.unreadable, profile=to_json(profile), **details)
        )
        del found, plan  # the report takes their room
        if config.report and not _report_is_current(config.out):
            from pipeline.report.write_page import write_report

            write_report(config.out)
    return summary


def _process(
    pending: Sequence[ImageRef],
    classifier: "Classifier",
    targets: Targets,
    rows: RowBuilder,
    results: ResultsFolder,
    profiler: Profiler,
    config: RunConfig,
    clock: Stopwatch,
    stop: Callable[[], bool],
) -> None:
    """Photos through the model into the table."""
    from pipeline.maps.passes import MapPlan
    from pipeline.model.cpu_streams import split_over_cores
    from pipeline.model.predictor import Predictor, find_batch_size

    maps = MapPlan(config.method, config.head_fusion, config.discard_ratio, targets.versus)
    batch_size = find_batch_size(classifier, maps) if config.batch_size == "auto" else config.batch_size
    workers = available_cores() if config.workers == "auto" else config.workers
    look = OverlayLook(config.style, config.overlay_opacity, config.colormap)
    draft = None if config.exact_decode else classifier.geometry.draft_size
    spec = LoadSpec(classifier.processor, draft, config.overlay_size, config.max_pixels)
    predictor = Predictor(split_over_cores(classifier, batch_size), maps, batch_size, targets)
    with (
        PhotoLoader(spec, workers=workers, decode_seconds=config.decode_seconds) as photos,
        # a whole batch may wait: its overlays are drawn while the device is at the next one
        OverlayWriter(results, look, threads=workers, waiting=batch_size) as overlays,
        TableWriter(results, rows=config.part_rows, seconds=config.part_seconds, before_commit=overlays.flush) as table,
        Progress(len(pending)) as progress,
    ):
        for batch, predicted in predictor.predict_ahead(
            clock.over("photos", photos.batches(pending, batch_size, stop))
        ):
            with clock("model"):
                predictions = predicted.result()
            done, failures = [], list(batch.failures)
            with clock("overlays"):
                for prediction in predictions:
                    if failure := prediction.failure:
                        failures.append(failure)
                        continue
                    box = classifier.geometry.map_box(prediction.sample.width, prediction.sample.height)
                    done.append(rows.ok(prediction, box, overlays.submit(prediction, box)))
            for failure in failures:
                log.warning("%s: %s", failure.ref.path, failure.reason, extra={"path": failure.ref.path})
            progress.advance(ok=len(done), failed=len(failures))
            done += [rows.failed(failure) for failure in failures]
            with clock("table"):
                table.add(done)
            profiler.add(done)


def _report_is_current(out: Path) -> bool:
    """Whether the report knows every row, and the run before left the folder as this one did."""
    standings = [_standing(record) for record in run_records(out)[-2:]]
    return report_knows_all(out) and standings[0] == standings[-1]


def _standing(record: Path) -> list[object]:
    """What the report's first sentence says of a run, rows apart."""
    try:
        run = json.loads(record.read_text(encoding="utf-8"))
        return [run["interrupted"], run["unreadable_folders"], photos_left(run)]
    except (ValueError, KeyError, TypeError):
        return []  # no record of ours


def preview(config: RunConfig) -> Plan:
    """What `run` would process, without a lock and without writing anything.

    Raises:
        VitrolloutError: as `run`, as far as it can be known without loading the model.
    """
    found = find_photos(config)
    checkpoint = resolve_checkpoint(config.model)
    check_family(checkpoint)
    if not config.rebind:
        check_source(config.out, config.input)
    targets = choose_targets(config, checkpoint, found.refs)
    mark = fingerprint(config, checkpoint, choose_precision(config.precision, choose_device(config.device)), targets)
    mark_of = partial(photo_fingerprint, mark, targets)
    return make_plan(found.refs, done_files(config.out), mark_of, retry_failed=config.retry_failed, limit=config.limit)


def find_photos(config: RunConfig) -> Discovery:
    """The photos of a run's input folder.

    Raises:
        ConfigError: there are none.
    """
    found = discover(config.input, pattern=config.pattern, follow_links=config.follow_links, skip=config.out)
    if not found.refs:
        raise ConfigError(_nothing_found(config, found))
    return found


def _nothing_found(config: RunConfig, found: Discovery) -> str:
    if found.unreadable:
        name, reason = next(iter(found.unreadable.items()))
        return f"no photos in {config.input}: folder {name} can't be read ({reason})"
    narrowed = f" that match {config.pattern}" if config.pattern else ""
    return f"no photos in {config.input}{narrowed}; see --help for what counts as one"
