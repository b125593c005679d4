"""95% intervals of the metrics of an evaluation from numbers of photos alone: they hold for few photos too.

Photos in families count less, see `families`; `families` is (n,), the family of each photo, or None for photos alone.
"""

from collections.abc import Mapping

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.evaluation.families import count_effective, effective_share
from pipeline.evaluation.metrics import Ids, Probabilities, f1_by_class, reliability
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


def class_intervals(truth: Ids, probabilities: Probabilities, families: Ids | None = None) -> dict[str, Interval]:
    """Compute intervals of `metrics.class_metrics`; same arguments."""
    families = _number_photos(truth) if families is None else families
    is_right = probabilities.argmax(axis=1) == truth
    present = np.unique(truth)
    recalls = [effective_share(is_right[truth == label], families[truth == label]) for label in present]
    rankings = [ranking_intervals(truth == label, probabilities[:, label], families) for label in present]
    scores = [_ranking_scores(truth == label, probabilities[:, label]) for label in present]
    ranked = {
        name: mean_interval([score[name] for score in scores], [limits[name] for limits in rankings], shared_by=2)
        for name in ("roc_auc", "average_precision")
        if len(present) > 1
    }
    return {
        "accuracy": share_interval(*effective_share(is_right, families)),
        "balanced_accuracy": mean_interval(
            [hits / photos for hits, photos in recalls], [share_interval(*pair) for pair in recalls]
        ),
        "macro_f1": macro_f1_interval(truth, probabilities, families),
        "ece": _calibration_interval(is_right, probabilities.max(axis=1), families),
    } | ranked


def f1_intervals(truth: Ids, probabilities: Probabilities, families: Ids | None = None) -> dict[str, Interval]:
    """Compute intervals of `metrics.f1_by_class`, of classes with photos; same arguments."""
    families = _number_photos(truth) if families is None else families
    predicted = probabilities.argmax(axis=1)
    return {
        str(label): _f1_interval(truth == label, predicted == label, families) for label in np.unique(truth).tolist()
    }


def macro_f1_interval(truth: Ids, probabilities: Probabilities, families: Ids | None = None) -> Interval:
    """Compute the interval of the mean F1 of the classes with photos."""
    limits = f1_intervals(truth, probabilities, families)
    scores = f1_by_class(truth, probabilities)
    return mean_interval([scores[label] for label in limits], list(limits.values()), shared_by=2)


def defect_intervals(is_defect: Flags, score: Doubles, families: Ids | None = None) -> dict[str, Interval]:
    """Compute intervals of `metrics.defect_metrics`; same arguments."""
    families = _number_photos(is_defect) if families is None else families
    called = score >= 0.5
    return {
        "recall": share_interval(*effective_share(called[is_defect], families[is_defect])),
        "precision": share_interval(*effective_share(is_defect[called], families[called])),
        "false_alarms": share_interval(*effective_share(called[~is_defect], families[~is_defect])),
        "f1": _f1_interval(is_defect, called, families),
    } | ranking_intervals(is_defect, score, families)


def ranking_intervals(is_label: Flags, score: Doubles, families: Ids | None = None) -> dict[str, Interval]:
    """Compute intervals of the ROC AUC and the average precision; empty without photos of both kinds.

    The average precision is taken for a share of the photos of the class (Boyd et al., ECML 2013, sec. 3.2).
    """
    if is_label.all() or not is_label.any():
        return {}
    families = _number_photos(is_label) if families is None else families
    positives, negatives = count_effective(families[is_label]), count_effective(families[~is_label])
    scores = _ranking_scores(is_label, score)
    return {
        "roc_auc": auc_interval(scores["roc_auc"], positives, negatives),
        "average_precision": share_interval(scores["average_precision"] * positives, positives),
    }


def _number_photos(photos: Ids | Flags) -> Ids:
    """Return one family for each photo."""
    return np.arange(len(photos))


def _f1_interval(is_label: Flags, is_called: Flags, families: Ids) -> Interval:
    trials = is_label | is_called
    hits, count = effective_share((is_label & is_called)[trials], families[trials])
    return f1_interval(hits, count - hits)


def _ranking_scores(is_label: Flags, score: Doubles) -> dict[str, float]:
    if is_label.all():
        return {}
    return {
        "roc_auc": float(roc_auc_score(is_label, score)),
        "average_precision": float(average_precision_score(is_label, score)),
    }


def _calibration_interval(correct: Flags, confidence: Doubles, families: Ids) -> Interval:
    """Compute the interval of the calibration error from those of the accuracy in each bin."""
    accuracy, mean_confidence, counts = reliability(correct, confidence)
    effective = counts * (count_effective(families) / len(families))
    limits = np.array([share_interval(*bin) for bin in zip(accuracy * effective, effective, strict=True)])  # (bins, 2)
    distances = np.abs(limits - mean_confidence[:, None])
    is_inside = (limits[:, 0] <= mean_confidence) & (mean_confidence <= limits[:, 1])
    lowest = np.where(is_inside, 0, distances.min(axis=1))
    weights = counts / counts.mean()  # the error is the mean over bins of weighted distances
    return mean_interval(
        (weights * np.abs(accuracy - mean_confidence)).tolist(),
        [tuple(pair) for pair in (weights[:, None] * np.stack([lowest, distances.max(axis=1)], axis=1)).tolist()],
    )
