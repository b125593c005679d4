"""Labels and probabilities -> metrics with 95% intervals. Pure; scikit-learn computes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    recall_score,
    roc_auc_score,
)

Ids = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Threshold:
    """Calling everything a defect whose score reaches a threshold, on the photos that chose it.

    Attributes:
        wanted_recall: share of defects to find, 0..1.
        threshold: the highest score that finds that share.
        recall: share of defects found.
        precision: share of defects among the photos called one.
        false_alarms: share of good photos called a defect.
    """

    wanted_recall: float
    threshold: float
    recall: float
    precision: float
    false_alarms: float


def class_metrics(truth: Ids, probabilities: Probabilities) -> dict[str, float]:
    """Metrics over all classes.

    Args:
        truth: (n,) class ids.
        probabilities: (n, C), rows sum to 1.

    Returns:
        accuracy; balanced_accuracy (mean recall of the classes that occur); macro_f1 (likewise); roc_auc and
        average_precision (one class against the rest, mean over the classes that occur); ece (expected
        calibration error of the predicted class's probability, equal bins, Guo et al. 2017).
    """
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    against_rest = [(truth == label, probabilities[:, label]) for label in present if len(present) > 1]
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "balanced_accuracy": float(recall_score(truth, predicted, labels=present, average="macro", zero_division=0)),
        "macro_f1": float(f1_score(truth, predicted, labels=present, average="macro", zero_division=0)),
        "roc_auc": _mean([roc_auc_score(is_label, score) for is_label, score in against_rest]),
        "average_precision": _mean([average_precision_score(is_label, score) for is_label, score in against_rest]),
        "ece": expected_calibration_error(predicted == truth, probabilities.max(axis=1)),
    }


def f1_by_class(truth: Ids, probabilities: Probabilities) -> dict[str, float]:
    """F1 of each class by its id, NaN for one that does not occur."""
    classes = range(probabilities.shape[1])
    scores = f1_score(truth, probabilities.argmax(axis=1), labels=list(classes), average=None, zero_division=0)
    return {str(label): float(scores[label]) if (truth == label).any() else math.nan for label in classes}


def defect_metrics(is_defect: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> dict[str, float]:
    """Metrics of "any defect": score (n,) is the summed probability of the defect classes; called one from 0.5 on."""
    called = score >= 0.5
    both = is_defect.any() and not is_defect.all()
    return {
        "recall": float(recall_score(is_defect, called, zero_division=np.nan)),
        "precision": float((is_defect & called).sum() / called.sum()) if called.any() else math.nan,
        "false_alarms": float(called[~is_defect].mean()) if not is_defect.all() else math.nan,
        "f1": float(f1_score(is_defect, called, zero_division=0)),
        "roc_auc": float(roc_auc_score(is_defect, score)) if both else math.nan,
        "average_precision": float(average_precision_score(is_defect, score)) if both else math.nan,
    }


def threshold_for_recall(
    is_defect: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], wanted: float
) -> Threshold | None:
    """The highest threshold that finds the wanted share of defects, None without both kinds of photos."""
    if not is_defect.any() or is_defect.all():
        return None
    precision, recall, thresholds = precision_recall_curve(is_defect, score)  # recall falls, thresholds rise
    place = int(np.flatnonzero(recall[:-1] >= wanted)[-1])
    called = score >= thresholds[place]
    return Threshold(
        wanted, float(thresholds[place]), float(recall[place]), float(precision[place]),
        float(called[~is_defect].mean()),
    )  # fmt: skip


def expected_calibration_error(correct: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float64]) -> float:
    """Mean distance of confidence and accuracy over equal bins, weighted by their photos, 0..1."""
    accuracy, mean_confidence, counts = reliability(correct, confidence)
    return float(np.average(np.abs(accuracy - mean_confidence), weights=counts))


def reliability(
    correct: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], Ids]:
    """Accuracy, mean confidence and number of photos of each bin of confidence that has any."""
    confidence = confidence.clip(0, 1)
    accuracy, mean = calibration_curve(correct.astype(int), confidence, n_bins=CALIBRATION_BINS, pos_label=1)
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]  # as scikit-learn bins: an edge belongs below
    counts = np.bincount(np.searchsorted(inner_edges, confidence), minlength=CALIBRATION_BINS)
    return accuracy, mean, counts[counts > 0]


def confusion(truth: Ids, predicted: Ids, classes: int) -> npt.NDArray[np.int64]:
    """Counts (C, C): rows are the truth, columns what was predicted."""
    counts: npt.NDArray[np.int64] = confusion_matrix(truth, predicted, labels=list(range(classes)))
    return counts


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
