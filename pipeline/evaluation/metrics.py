"""True labels and probabilities -> metrics. Pure functions; the arithmetic is scikit-learn's."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    recall_score,
    roc_auc_score,
)

from pipeline.records import Doubles

Ids = npt.NDArray[np.int64]
Probabilities = Doubles

CALIBRATION_BINS = 15


def class_metrics(truth: Ids, probabilities: Probabilities) -> dict[str, float]:
    """Compute metrics over all classes. Means over classes skip classes without a photo.

    Args:
        truth: (n,) class ids.
        probabilities: (n, C), rows sum to 1.

    Returns:
        accuracy; balanced_accuracy (mean recall of the classes); macro_f1 (mean F1 of the classes); roc_auc and
        average_precision (one class against the rest, mean over classes; NaN with one class only); ece (see
        `expected_calibration_error`, of the most likely class's probability).
    """
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    against_rest = [(truth == label, probabilities[:, label]) for label in present if len(present) > 1]
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "balanced_accuracy": float(recall_score(truth, predicted, labels=present, average="macro", zero_division=0)),
        "macro_f1": float(f1_score(truth, predicted, labels=present, average="macro", zero_division=0)),
        "roc_auc": _mean_or_nan([roc_auc_score(is_label, score) for is_label, score in against_rest]),
        "average_precision": _mean_or_nan(
            [average_precision_score(is_label, score) for is_label, score in against_rest]
        ),
        "ece": expected_calibration_error(predicted == truth, probabilities.max(axis=1)),
    }


def f1_by_class(truth: Ids, probabilities: Probabilities) -> dict[str, float]:
    """Compute the F1 of each class, by its id as text; NaN for classes without a photo."""
    classes = range(probabilities.shape[1])
    scores = f1_score(truth, probabilities.argmax(axis=1), labels=list(classes), average=None, zero_division=0)
    return {str(label): float(scores[label]) if (truth == label).any() else math.nan for label in classes}


def defect_metrics(is_defect: npt.NDArray[np.bool_], score: Doubles) -> dict[str, float]:
    """Compute metrics of "any defect". Photos with a score of 0.5 or more are called defects.

    Args:
        is_defect: (n,).
        score: (n,), 0..1: the score of "any defect".

    Returns:
        recall, precision, false_alarms, f1, roc_auc, average_precision; NaN for metrics undefined on these photos.
    """
    called = score >= 0.5
    both_kinds = is_defect.any() and not is_defect.all()
    return {
        "recall": float(recall_score(is_defect, called, zero_division=np.nan)),
        "precision": float((is_defect & called).sum() / called.sum()) if called.any() else math.nan,
        "false_alarms": float(called[~is_defect].mean()) if not is_defect.all() else math.nan,
        "f1": float(f1_score(is_defect, called, zero_division=0)),
        "roc_auc": float(roc_auc_score(is_defect, score)) if both_kinds else math.nan,
        "average_precision": float(average_precision_score(is_defect, score)) if both_kinds else math.nan,
    }


def expected_calibration_error(correct: npt.NDArray[np.bool_], confidence: Doubles) -> float:
    """Compute the expected calibration error (Guo et al. 2017), 0..1.

    This is the mean distance between confidence and accuracy over the bins of `reliability`, weighted by their photos.
    """
    accuracy, mean_confidence, counts = reliability(correct, confidence)
    return float(np.average(np.abs(accuracy - mean_confidence), weights=counts))


def reliability(correct: npt.NDArray[np.bool_], confidence: Doubles) -> tuple[Doubles, Doubles, Ids]:
    """Bin photos by confidence, in bins of equal width.

    Args:
        correct: (n,).
        confidence: (n,), 0..1.

    Returns:
        Accuracy, mean confidence and number of photos of each bin, without empty bins.
    """
    confidence = confidence.clip(0, 1)
    accuracy, mean_confidence = calibration_curve(correct.astype(int), confidence, n_bins=CALIBRATION_BINS, pos_label=1)
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]  # as in scikit-learn: an edge belongs to the bin below
    counts = np.bincount(np.searchsorted(inner_edges, confidence), minlength=CALIBRATION_BINS)
    return accuracy, mean_confidence, counts[counts > 0]


def confusion(truth: Ids, predicted: Ids, classes: int) -> Ids:
    """Count photos by truth and prediction: (C, C), rows are the truth, columns the prediction."""
    counts: Ids = confusion_matrix(truth, predicted, labels=list(range(classes)))
    return counts


def _mean_or_nan(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
