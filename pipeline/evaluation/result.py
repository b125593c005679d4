"""The result of an evaluation: predictions, truth and metrics."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.metrics import Ids, Probabilities, Threshold, confusion
from pipeline.intervals import Estimate
from pipeline.labelled.splits import LabelledPhoto
from pipeline.records import Doubles


@dataclass(frozen=True)
class PredictedPhoto:
    """One photo with its prediction, or the reason for its failure.

    Attributes:
        photo: the photo, with its true label.
        probabilities: (C,), sums to 1; None for an unreadable photo.
        error: reason of the failure, or None.
    """

    photo: LabelledPhoto
    probabilities: Doubles | None
    error: str | None = None


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
    """

    labels: tuple[str, ...]
    split: str
    positive: tuple[str, ...]
    truth: Ids
    probabilities: Probabilities
    failed: int

    @property
    def positive_ids(self) -> list[int]:
        """Ids of the defect classes."""
        return [self.labels.index(label) for label in self.positive]

    @property
    def is_defect(self) -> npt.NDArray[np.bool_]:
        """(n,) whether the true class is a defect."""
        return np.isin(self.truth, self.positive_ids)

    @property
    def defect_score(self) -> Doubles:
        """(n,) summed probability of the defect classes."""
        score: Doubles = self.probabilities[:, self.positive_ids].sum(axis=1)
        return score

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
    """

    metrics: dict[str, Estimate]
    f1: dict[str, Estimate]
    defects: dict[str, Estimate]
    threshold: Threshold | None
