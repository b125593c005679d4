"""The colour scale of a model without one, measured on the photos of a trust report and saved with the model."""

import logging
from collections.abc import Callable, Sequence

from pipeline.maps.passes import MapPlan
from pipeline.model.classifier import Classifier
from pipeline.model.map_scale import SCALE_FILE, MapScales, measure_map_scales, spread_evenly, write_map_scales
from pipeline.model.open import OpenedModel
from pipeline.model.predictor import Predictor
from pipeline.model.targets import find_defects
from pipeline.trust.marked_photos import MarkedPhoto
from pipeline.trust.read_samples import SampleReader, WindowRule

log = logging.getLogger(__name__)

_MOST_PHOTOS = 100  # enough for a scale
_BATCH_SIZE = 8


def save_scales(
    photos: Sequence[MarkedPhoto], classifier: Classifier, model: OpenedModel, windows: WindowRule | None,
    stop: Callable[[], bool],
) -> None:  # fmt: skip
    """Write the scale of a model, from labelled photos; one that exists stays, as it is from validation photos.

    Args:
        photos: of the report.
        classifier: the model.
        model: its files.
        windows: as of the measurement.
        stop: asked between photos; once true, nothing is saved.

    Raises:
        StoreError: the folder can't be written.
    """
    folder, ids = model.checkpoint.folder, {label: index for index, label in enumerate(classifier.labels)}
    label_of = {photo.ref.path: ids[photo.label] for photo in photos if photo.label}
    if (folder / SCALE_FILE).exists() or not label_of:
        return
    positive = _find_positive(model)
    defects = [photo for photo in photos if not positive or label_of.get(photo.ref.path) in positive]
    chosen = [photo for photo in spread_evenly(defects, _MOST_PHOTOS) if photo.ref.path in label_of]
    reader = SampleReader(classifier, Predictor(classifier, MapPlan(()), _BATCH_SIZE), windows, stop)
    samples = [sample for batch, _ in reader.read(chosen) for sample, _ in batch]
    if stop():
        return
    labels = [label_of[sample.ref.path] for sample in samples]
    scales = measure_map_scales(classifier, [sample.pixels for sample in samples], labels, positive)
    if scales:
        saved = MapScales(scales, model.checkpoint.digest(), model.input_size, model.precision)
        log.info("scale of the overlays saved: %s", write_map_scales(folder, saved))


def _find_positive(model: OpenedModel) -> tuple[int, ...]:
    """Find the ids of the classes counted as defects; empty if nothing tells them from good ones."""
    decision = model.read_decision()
    try:
        return find_defects(model.checkpoint.labels, saved_positive=decision.positive if decision else ())
    except ValueError:
        return ()
