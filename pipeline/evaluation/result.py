"""The result of an evaluation: predictions, truth and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.decision import class_ids, combine_classes
from pipeline.evaluation.band import BandCosts
from pipeline.evaluation.comparison import Comparison
from pipeline.evaluation.metrics import Ids, Probabilities, confusion
from pipeline.evaluation.threshold import Threshold
from pipeline.intervals import Estimate
from pipeline.labelled.good_labels import GOOD_LABELS
from pipeline.labelled.splits import LabelledPhoto
from pipeline.records import Detection, Doubles, Floats, Scoring

NO_GOOD_CLASS = (
    f"no class is called {', '.join(GOOD_LABELS)}, so no class counts as a defect and there is no threshold; name the "
    "classes of defects with --positive"
)

_AFFORDABLE = 0.5  # false alarms a photo


@dataclass(frozen=True)
class PredictedPhoto:
    """One photo with its prediction, or the reason for its failure.

    Attributes:
        photo: the photo, with its true label.
        probabilities: (C,); None for an unreadable photo.
        error: reason of the failure, or None.
        features: (D,) input of the head, or None if not asked for.
        size: width and height in upright pixels; None for an unreadable photo.
        detections: defects found in its windows; None if not asked for.
    """

    photo: LabelledPhoto
    probabilities: Doubles | None
    error: str | None = None
    features: Floats | None = None
    size: tuple[int, int] | None = None
    detections: Sequence[Detection] | None = None


@dataclass(frozen=True)
class Detections:
    """Detections compared with the boxes of photos.

    Attributes:
        photos: number of photos with known boxes, good ones among them.
        boxes: number of their defects.
        detect_from: score from which a detection counts in recall, false alarms, precision and F1.
        metrics: recall, false alarms a photo, precision, F1 and average precision, by name.
        average_precision: by label, at the first of `IOUS`.
        curve: (threshold, recall, false alarms a photo), the highest threshold first.
    """

    photos: int
    boxes: int
    detect_from: float
    metrics: dict[str, Estimate]
    average_precision: dict[str, Estimate]
    curve: tuple[tuple[float, float, float], ...]

    def best_within(self, false_alarms: float) -> tuple[float, float, float] | None:
        """Return the point of the curve with the most defects found at up to so many false alarms a photo."""
        affordable = [point for point in self.curve if point[2] <= false_alarms]
        return affordable[-1] if affordable else None

    def describe(self) -> str:
        """Say how many defects are found, and at which price."""
        recall, alarms, ap = (self.metrics[name] for name in ("recall", "false_alarms_per_photo", "ap0.33"))
        sentence = (
            f"{recall.value:.2%} of {self.boxes} defects are found where they are, with {alarms.value:.2f} false "
            f"alarms a photo, by detections from {self.detect_from:g} on; average precision {ap.value:.3f} at an IoU "
            "of 0.33"
        )
        if (best := self.best_within(_AFFORDABLE)) is None:
            return sentence
        return (
            f"{sentence}; the lowest threshold within {_AFFORDABLE:g} false alarms a photo is {best[0]:.9g}, which "
            f"finds {best[1]:.2%}"
        )

    def as_json(self) -> dict[str, object]:
        """Convert to plain values for JSON."""
        return {
            "photos": self.photos,
            "boxes": self.boxes,
            "detect_from": self.detect_from,
            "metrics": {name: estimate.as_json() for name, estimate in self.metrics.items()},
            "average_precision": {label: estimate.as_json() for label, estimate in self.average_precision.items()},
            "curve": [
                {"threshold": threshold, "recall": recall, "false_alarms_per_photo": alarms}
                for threshold, recall, alarms in self.curve
            ],
        }


@dataclass(frozen=True)
class ScoredPhotos:
    """Truth and predictions of n photos, the readable ones of a split.

    Attributes:
        labels: class names by id.
        split: the split in words.
        positive: labels of the classes counted as a defect; may be empty.
        truth: (n,) class ids.
        probabilities: (n, C).
        failed: number of unreadable photos.
        scoring: how the probabilities were computed from the logits.
        families: (n,) number of each photo's group; None for photos without groups.
    """

    labels: tuple[str, ...]
    split: str
    positive: tuple[str, ...]
    truth: Ids
    probabilities: Probabilities
    failed: int
    scoring: Scoring
    families: Ids | None = field(default=None, kw_only=True)

    @property
    def resampled(self) -> Literal["photos", "groups"]:
        """The units of the intervals: photos, or whole groups of photos."""
        return "photos" if self.families is None else "groups"

    @property
    def positive_ids(self) -> list[int]:
        """Ids of the defect classes, each once: several classes may have one name."""
        return class_ids(self.labels, self.positive)

    @property
    def is_defect(self) -> npt.NDArray[np.bool_]:
        """(n,) whether the true class is a defect."""
        return np.isin(self.truth, self.positive_ids)

    @property
    def defect_score(self) -> Doubles:
        """(n,) probability of a defect, see `combine_classes`."""
        return combine_classes(self.probabilities, self.positive_ids, self.scoring)

    @property
    def predicted(self) -> Ids:
        """(n,) id of the most likely class."""
        best: Ids = self.probabilities.argmax(axis=1)
        return best

    @property
    def confusion(self) -> Ids:
        """(C, C) numbers of photos: rows are the truth, columns the prediction."""
        return confusion(self.truth, self.predicted, len(self.labels))


@dataclass(frozen=True)
class Evaluation(ScoredPhotos):
    """Scored photos with their metrics.

    Attributes:
        metrics: over all classes, by name.
        f1: by label.
        defects: metrics of "any defect"; empty without defect classes.
        threshold: for the recall of the settings; None without defect classes, or with photos of one kind only.
        band: costs of the model's decision on these photos; None for a model without one.
        comparison: with a second model; None without.
        detections: compared with boxes; None for photos without boxes, or not cut into windows.
    """

    metrics: dict[str, Estimate]
    f1: dict[str, Estimate]
    defects: dict[str, Estimate]
    threshold: Threshold | None
    band: BandCosts | None = None
    comparison: Comparison | None = None
    detections: Detections | None = None

    @property
    def why_no_threshold(self) -> str | None:
        """The reason for a missing threshold, and the next step; None if there is one."""
        if self.threshold is not None:
            return None
        if not self.positive:
            return NO_GOOD_CLASS
        missing = "good photo" if self.is_defect.all() else "defect"
        return f"no {missing} is among these photos, so no threshold can be chosen; add some, or use --split all"
