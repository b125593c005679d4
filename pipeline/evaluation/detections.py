"""Detections against the boxes of photos: defects found, false alarms, average precision, free-response curve."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.average_precision import IOUS, AveragePrecision
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.families import list_members, number_families
from pipeline.evaluation.metrics import Ids
from pipeline.evaluation.predict import raise_if_stopped
from pipeline.evaluation.result import Detections, PredictedPhoto
from pipeline.intervals import bootstrap, share_interval
from pipeline.labelled.csv_table import list_some
from pipeline.labelled.good_labels import is_good_label
from pipeline.labelled.splits import LabelledBox
from pipeline.records import Box, Detection, Doubles

log = logging.getLogger(__name__)

_LEAST = float(np.nextafter(0, 1))


@dataclass(frozen=True)
class MarkedPhoto:
    """A photo with its true boxes, and those found.

    Attributes:
        name: of the photo.
        size: width and height, upright pixels.
        truth: all its defects; none for a good photo.
        found: detections of any score.
    """

    name: str
    size: tuple[int, int]
    truth: tuple[LabelledBox, ...]
    found: tuple[Detection, ...]

    @property
    def best_scores(self) -> list[float]:
        """The highest score of the detections at the place of each defect, 0 if there is none."""
        return [
            max((one.score for one in self.found if is_same_place(one.box, true.box)), default=0.0)
            for true in self.truth
        ]

    @property
    def false_scores(self) -> list[float]:
        """The scores of the detections at the place of no defect."""
        return [one.score for one in self.found if not any(is_same_place(one.box, true.box) for true in self.truth)]


def is_same_place(one: Box, other: Box) -> bool:
    """Tell whether the centre of one of two boxes lies in the other."""
    return _holds_centre(one, other) or _holds_centre(other, one)


def mark_photos(predictions: Sequence[PredictedPhoto]) -> list[MarkedPhoto]:
    """Gather the readable photos with known boxes; the others, and boxes outside a photo, are named in the log."""
    marked, unknown, outside = [], 0, []
    for prediction in predictions:
        photo = prediction.photo
        if prediction.detections is None or prediction.size is None:
            continue
        if photo.boxes is None and not is_good_label(photo.label):
            unknown += 1
            continue
        truth = []
        for box in photo.boxes or ():
            inside = box.clip(prediction.size)
            if inside is None:
                outside.append(f"{photo.name} ({', '.join(f'{corner:g}' for corner in box.box)})")
            else:
                truth.append(inside)
        marked.append(MarkedPhoto(photo.name, prediction.size, tuple(truth), tuple(prediction.detections)))
    if unknown:
        log.warning("%d photos have defects without boxes; they are not among the figures of detections", unknown)
    if outside:
        log.warning("%d boxes lie outside their photos and are left out: %s", len(outside), list_some(outside))
    return marked


def measure_detections(
    predictions: Sequence[PredictedPhoto], labels: Sequence[str], config: EvaluateConfig, stop: Callable[[], bool]
) -> Detections | None:
    """Measure the detections of photos with known boxes, with intervals from resampled photos, or groups of photos.

    A detection is right if it lies at the place of a defect, see `is_same_place`, whatever its label; further ones at
    the same place count neither as right nor as wrong. Average precision asks for the label and the extent, too.

    Returns:
        None if no photo has a box.

    Raises:
        StoppedError: `stop()` was true, asked before each resample.
    """
    photos = mark_photos(predictions)
    boxes = sum(len(photo.truth) for photo in photos)
    if not boxes:
        log.warning("no photo has a box to compare with detections")
        return None
    best = [np.array(photo.best_scores) for photo in photos]
    false = [np.array(photo.false_scores) for photo in photos]
    precision = AveragePrecision([(photo.truth, photo.found, photo.size) for photo in photos], labels)
    photo_of = {prediction.photo.name: prediction.photo for prediction in predictions}
    families = number_families([photo_of[photo.name] for photo in photos])
    members = list_members(families)
    at = config.detect_from or _LEAST  # a defect without any detection has a best score of 0

    def measure_resample(drawn: Ids) -> dict[str, float]:
        raise_if_stopped(stop)
        chosen = np.concatenate([members[index] for index in drawn])
        scores = np.concatenate([best[index] for index in chosen])
        alarms = sum(int((false[index] >= at).sum()) for index in chosen)
        found = int((scores >= at).sum())
        return {
            "recall": found / len(scores) if len(scores) else math.nan,
            "false_alarms_per_photo": alarms / len(chosen),
            "precision": found / (found + alarms) if found + alarms else math.nan,
            "f1": 2 * found / (len(scores) + found + alarms) if len(scores) + found + alarms else math.nan,
            **precision.measure(chosen),
        }

    estimates = bootstrap(measure_resample, len(members), resamples=config.resamples, seed=config.seed)
    if config.resamples:
        found = sum(int((scores >= at).sum()) for scores in best)
        alarms = sum(int((scores >= at).sum()) for scores in false)
        estimates["recall"] = estimates["recall"].widen(share_interval(found, boxes))
        estimates["precision"] = estimates["precision"].widen(share_interval(found, found + alarms))
    by_class = {name: estimate for name, estimate in estimates.items() if name.startswith(f"ap{IOUS[0]:.2f} ")}
    return Detections(
        photos=len(photos),
        boxes=boxes,
        detect_from=config.detect_from,
        metrics={name: estimate for name, estimate in estimates.items() if " " not in name},
        average_precision={name.split(" ", 1)[1]: estimate for name, estimate in by_class.items()},
        curve=compute_curve(np.concatenate(best), np.concatenate(false), len(photos)),
    )


def compute_curve(best: Doubles, false: Doubles, photos: int) -> tuple[tuple[float, float, float], ...]:
    """Return the free-response curve: (threshold, recall, false alarms a photo) for each score, the highest first.

    Args:
        best: the highest score at the place of each defect, 0 if there is none.
        false: scores of false alarms.
        photos: their number.
    """
    thresholds = np.unique(np.concatenate([best[best > 0], false]))[::-1]
    return tuple(
        (float(threshold), float((best >= threshold).mean()), float((false >= threshold).sum() / photos))
        for threshold in thresholds
    )


def _holds_centre(box: Box, other: Box) -> bool:
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
