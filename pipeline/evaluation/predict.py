"""Labelled photos -> class probabilities, with the decoding, preprocessing and precision of a run."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from pipeline.decision import class_ids
from pipeline.errors import ModelError, StoppedError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.result import PredictedPhoto
from pipeline.labelled.read import labelled_ref
from pipeline.labelled.splits import LabelledPhoto
from pipeline.maps.methods import MethodName
from pipeline.maps.passes import MapPlan
from pipeline.model.choose_tile import TileChoice
from pipeline.model.classifier import Classifier
from pipeline.model.predictor import Change, Predictor, build_predictor, keep_pixels
from pipeline.model.targets import Targets
from pipeline.model.tiled_predictor import Cut, build_tiled_predictor
from pipeline.photos.loader import PhotoLoader
from pipeline.progress import Progress
from pipeline.records import Failure, Pixels, Prediction, Scoring, compute_scores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """A model at work.

    Attributes:
        classifier: the model; for windows if photos are cut.
        tile: how photos are cut.
        defect_ids: ids of the classes counted as defects: the window with most of them decides for its photo.
        method: map method that finds boxes roughly; None: none are looked for.
    """

    classifier: Classifier
    tile: TileChoice
    defect_ids: Sequence[int]
    method: MethodName | None = None

    @classmethod
    def prepare(
        cls, classifier: Classifier, tile: TileChoice, positive: Sequence[str], method: MethodName | None = None
    ) -> Self:
        """Prepare a loaded model for whole photos or for windows."""
        tile.log_reason()
        if tile.tiling:
            classifier = classifier.for_windows()
        return cls(classifier, tile, class_ids(classifier.labels, positive), method if tile.tiling else None)


def predict_photos(
    photos: Sequence[LabelledPhoto], judge: Judge, config: EvaluateConfig, stop: Callable[[], bool]
) -> Iterator[PredictedPhoto]:
    """Predict the class probabilities of each photo; unreadable photos come without.

    Raises:
        ModelError: the model's output is not finite.
        StoppedError: `stop()` was true.
    """
    photo_of = {photo.name: photo for photo in photos}
    refs = [labelled_ref(photo) for photo in photos]
    spec = judge.classifier.load_spec(tiling=judge.tile.tiling)
    with PhotoLoader(spec, num_workers=config.workers) as loader, Progress(len(photos)) as progress:
        predictor = _build_predictor(judge, config, partial(loader.windows, stop=stop))
        for batch in loader.batches(refs, predictor.photos_a_batch, stop):
            failures = list(batch.failures)
            views = [predictor.predict_photos(batch.samples, turn) for turn in _list_turns(config)]
            for predictions in zip(*views, strict=True):  # of one photo
                if problem := next((one.problem for one in predictions if one.problem), None):
                    failures.append(Failure(predictions[0].sample.ref, problem))
                    continue
                yield _average(photo_of[predictions[0].sample.ref.path], predictions, judge.classifier.scoring)
            for failure in failures:
                log.warning("left out %s: %s", failure.ref.path, failure.reason)
                yield PredictedPhoto(photo_of[failure.ref.path], None, failure.reason)
            failed = len(failures)
            progress.advance(ok=len(batch.samples) + len(batch.failures) - failed, failed=failed)
    raise_if_stopped(stop)


def _build_predictor(judge: Judge, config: EvaluateConfig, cut: Cut) -> Predictor:
    plan = MapPlan((judge.method,) if judge.method else (), features=config.group == "similar")
    if judge.tile.tiling is None:
        return build_predictor(judge.classifier, plan, config.batch_size)
    return build_tiled_predictor(
        judge.classifier,
        plan,
        config.batch_size,
        Targets(),
        cut,
        judge.defect_ids,
        finds_boxes=judge.method is not None,
    )


def _list_turns(config: EvaluateConfig) -> list[Change]:
    """List the views of each photo: as it is, or in its eight turns and mirrorings."""
    if not config.average_turns:
        return [keep_pixels]
    return [
        partial(_turn_pixels, quarters=quarters, mirrored=mirrored)
        for quarters in range(4)
        for mirrored in (False, True)
    ]


def _average(photo: LabelledPhoto, views: Sequence[Prediction], scoring: Scoring) -> PredictedPhoto:
    """Average the probabilities over the views of a photo; features and detections are those of the photo as it is.

    Raises:
        ModelError: they are not finite.
    """
    mean = compute_scores(np.stack([view.logits for view in views]), scoring).mean(axis=0)  # (C,)
    if not np.isfinite(mean).all():
        raise ModelError(f"{photo.name}: the model's output is not finite; try --precision fp32")
    sample, tiled = views[0].sample, views[0].tiled
    return PredictedPhoto(
        photo,
        mean,
        features=views[0].features,
        size=(sample.width, sample.height),
        detections=tiled.detections if tiled else None,
    )


def raise_if_stopped(stop: Callable[[], bool]) -> None:
    """Leave an evaluation before anything is written.

    Raises:
        StoppedError: `stop()` was true.
    """
    if stop():
        raise StoppedError("stopped; nothing was written, run the same command again")


def _turn_pixels(pixels: Pixels, quarters: int, mirrored: bool) -> Pixels:
    """Turn (3, H, W) pixels by quarters of a circle, then mirror them."""
    turned = np.rot90(pixels, quarters, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)
