"""95% intervals of the metrics of an evaluation from numbers of photos alone: they hold for few photos too."""

from collections.abc import Mapping

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.evaluation.metrics import Ids, Probabilities, confusion, f1_by_class, reliability
from pipeline.evaluation.threshold import Flags
from pipeline.intervals import (
    UNKNOWN,
    Estimate,
    Interval,
    auc_interval,
    f1_interval,
    mean_interval,
    share_interval,
)
from pipeline.records import Doubles

_EXACT = {"accuracy", "recall", "precision", "false_alarms", "f1"}  # need no union with resamples


def combine_intervals(estimates: Mapping[str, Estimate], intervals: Mapping[str, Interval]) -> dict[str, Estimate]:
    """Give estimates their exact interval, or else the union of the one from resamples and the one given here."""
    return {
        name: (Estimate(estimate.value) if name in _EXACT else estimate).widen(intervals.get(name, UNKNOWN))
        for name, estimate in estimates.items()
    }


def class_intervals(truth: Ids, probabilities: Probabilities) -> dict[str, Interval]:
    """Compute intervals of `metrics.class_metrics`; same arguments."""
    counts = confusion(truth, probabilities.argmax(axis=1), probabilities.shape[1])  # (C, C)
    present = np.flatnonzero(counts.sum(axis=1))
    hits, photos = counts.diagonal()[present], counts.sum(axis=1)[present]
    rankings = [ranking_intervals(truth == label, probabilities[:, label]) for label in present]
    scores = [_ranking_scores(truth == label, probabilities[:, label]) for label in present]
    ranked = {
        name: mean_interval([score[name] for score in scores], [limits[name] for limits in rankings], shared_by=2)
        for name in ("roc_auc", "average_precision")
        if len(present) > 1
    }
    return {
        "accuracy": share_interval(int(hits.sum()), len(truth)),
        "balanced_accuracy": mean_interval(
            (hits / photos).tolist(), [share_interval(*pair) for pair in zip(hits, photos, strict=True)]
        ),
        "macro_f1": macro_f1_interval(truth, probabilities),
        "ece": _calibration_interval(probabilities.argmax(axis=1) == truth, probabilities.max(axis=1)),
    } | ranked


def f1_intervals(truth: Ids, probabilities: Probabilities) -> dict[str, Interval]:
    """Compute intervals of `metrics.f1_by_class`, of classes with photos; same arguments."""
    counts = confusion(truth, probabilities.argmax(axis=1), probabilities.shape[1])
    errors = counts.sum(axis=1) + counts.sum(axis=0) - 2 * counts.diagonal()
    return {
        str(label): f1_interval(int(counts[label, label]), int(errors[label]))
        for label in np.flatnonzero(counts.sum(axis=1))
    }


def macro_f1_interval(truth: Ids, probabilities: Probabilities) -> Interval:
    """Compute the interval of the mean F1 of the classes with photos."""
    limits = f1_intervals(truth, probabilities)
    scores = f1_by_class(truth, probabilities)
    return mean_interval([scores[label] for label in limits], list(limits.values()), shared_by=2)


def defect_intervals(is_defect: Flags, score: Doubles) -> dict[str, Interval]:
    """Compute intervals of `metrics.defect_metrics`; same arguments."""
    called = score >= 0.5
    found = int((called & is_defect).sum())
    return {
        "recall": share_interval(found, int(is_defect.sum())),
        "precision": share_interval(found, int(called.sum())),
        "false_alarms": share_interval(int((called & ~is_defect).sum()), int((~is_defect).sum())),
        "f1": f1_interval(found, int((called != is_defect).sum())),
    } | ranking_intervals(is_defect, score)


def ranking_intervals(is_label: Flags, score: Doubles) -> dict[str, Interval]:
    """Compute intervals of the ROC AUC and the average precision; empty without photos of both kinds.

    The average precision is taken for a share of the photos of the class (Boyd et al., ECML 2013, sec. 3.2).
    """
    if is_label.all() or not is_label.any():
        return {}
    positives, scores = int(is_label.sum()), _ranking_scores(is_label, score)
    return {
        "roc_auc": auc_interval(scores["roc_auc"], positives, len(is_label) - positives),
        "average_precision": share_interval(scores["average_precision"] * positives, positives),
    }


def _ranking_scores(is_label: Flags, score: Doubles) -> dict[str, float]:
    if is_label.all():
        return {}
    return {
        "roc_auc": float(roc_auc_score(is_label, score)),
        "average_precision": float(average_precision_score(is_label, score)),
    }


def _calibration_interval(correct: Flags, confidence: Doubles) -> Interval:
    """Compute the interval of the calibration error from those of the accuracy in each bin."""
    accuracy, mean_confidence, counts = reliability(correct, confidence)
    limits = np.array([share_interval(*bin) for bin in zip(accuracy * counts, counts, strict=True)])  # (bins, 2)
    distances = np.abs(limits - mean_confidence[:, None])
    is_inside = (limits[:, 0] <= mean_confidence) & (mean_confidence <= limits[:, 1])
    lowest = np.where(is_inside, 0, distances.min(axis=1))
    weights = counts / counts.mean()  # the error is the mean over bins of weighted distances
    return mean_interval(
        (weights * np.abs(accuracy - mean_confidence)).tolist(),
        [tuple(pair) for pair in (weights[:, None] * np.stack([lowest, distances.max(axis=1)], axis=1)).tolist()],
    )
