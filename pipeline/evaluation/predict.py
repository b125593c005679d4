"""Labelled photos -> class probabilities, with the decoding, preprocessing and precision of a run."""

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pipeline.errors import ModelError, StoppedError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.metrics import Probabilities
from pipeline.evaluation.result import PredictedPhoto
from pipeline.labelled.read import labelled_ref
from pipeline.labelled.splits import LabelledPhoto
from pipeline.maps.passes import MapPlan
from pipeline.model.classifier import Classifier
from pipeline.model.predictor import Predictor, build_predictor
from pipeline.photos.loader import PhotoLoader
from pipeline.progress import Progress
from pipeline.records import Floats, Pixels, Sample, Scoring, compute_scores

log = logging.getLogger(__name__)


def predict_photos(
    photos: Sequence[LabelledPhoto], classifier: Classifier, config: EvaluateConfig, stop: Callable[[], bool]
) -> Iterator[PredictedPhoto]:
    """Predict the class probabilities of each photo; unreadable photos come without.

    Raises:
        ModelError: the model's output is not finite.
        StoppedError: `stop()` was true.
    """
    predictor = build_predictor(classifier, MapPlan((), features=config.group == "similar"), config.batch_size)
    photo_of = {photo.name: photo for photo in photos}
    refs = [labelled_ref(photo) for photo in photos]
    with PhotoLoader(classifier.load_spec(), workers=config.workers) as loader, Progress(len(photos)) as progress:
        for batch in loader.batches(refs, predictor.batch_size, stop):
            probabilities, features = _predict_batch(
                batch.samples, predictor, classifier.scoring, average_turns=config.average_turns
            )
            for index, (sample, row) in enumerate(zip(batch.samples, probabilities, strict=True)):
                if not np.isfinite(row).all():
                    raise ModelError(f"{sample.ref.path}: the model's output is not finite; try --precision fp32")
                yield PredictedPhoto(
                    photo_of[sample.ref.path], row, features=None if features is None else features[index]
                )
            for failure in batch.failures:
                log.warning("left out %s: %s", failure.ref.path, failure.reason)
                yield PredictedPhoto(photo_of[failure.ref.path], None, failure.reason)
            progress.advance(ok=len(batch.samples), failed=len(batch.failures))
    raise_if_stopped(stop)


def raise_if_stopped(stop: Callable[[], bool]) -> None:
    """Leave an evaluation before anything is written.

    Raises:
        StoppedError: `stop()` was true.
    """
    if stop():
        raise StoppedError("stopped; nothing was written, run the same command again")


def _predict_batch(
    samples: Sequence[Sample], predictor: Predictor, scoring: Scoring, *, average_turns: bool
) -> tuple[Probabilities, Floats | None]:
    """Return probabilities (B, C) of the photos as they are, or averaged over turns and mirrorings; and features.

    Features (B, D) are those of the photos as they are; None if the plan of the predictor leaves them out.
    """
    if not samples:
        return np.zeros((0, 1)), None
    turns = range(4) if average_turns else range(1)
    mirrorings = (False, True) if average_turns else (False,)
    views = [
        [_turn_pixels(sample.pixels, quarters, mirrored) for sample in samples]
        for quarters in turns
        for mirrored in mirrorings
    ]
    outputs = [predictor.predict(view) for view in views]
    logits = np.stack([output.logits for output in outputs])  # (views, B, C)
    mean: Probabilities = compute_scores(logits, scoring).mean(axis=0)
    return mean, outputs[0].features


def _turn_pixels(pixels: Pixels, quarters: int, mirrored: bool) -> Pixels:
    """Turn (3, H, W) pixels by quarters of a circle, then mirror them."""
    turned = np.rot90(pixels, quarters, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)
