"""The loss and the metrics of a classifier on labelled photos, and the judgement of a training by them."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_curve
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.errors import StoppedError
from pipeline.labelled.good_labels import is_good_label
from pipeline.training.data import PhotoBatch
from pipeline.training.device import TrainingDevice

log = logging.getLogger(__name__)

_FALSE_ALARMS = 0.1  # share of the good photos
_WANTED_RECALL = 0.99


@dataclass(frozen=True)
class Metrics:
    """Metrics of one pass over a split.

    Attributes:
        accuracy: share of photos labelled correctly, 0..1.
        macro_f1: mean of the F1 scores of the classes with photos, 0..1.
        loss: weighted cross entropy, mean over the photos with a finite loss; NaN without any.
        f1: F1 score of each class by id, 0..1; None for a class without photos.
        defect_recall: share of defects found, 0..1, mean over all thresholds with false alarms up to a tenth of the
            good photos; NaN without a good class, or without photos on one side.
        false_alarms: share of good photos at or above the score of "any defect" that finds 99% of the defects; NaN
            as above.
        errors: standard errors of the loss and of the shares, by name; 0 for others.
    """

    accuracy: float
    macro_f1: float
    loss: float
    f1: tuple[float | None, ...] = ()
    defect_recall: float = math.nan
    false_alarms: float = math.nan
    errors: Mapping[str, float] = field(default_factory=dict)


def compute_logits(model: Any, batch: PhotoBatch, device: TrainingDevice) -> Tensor:
    """Run the forward pass of a batch: -> logits (B, classes) float32."""
    with device.autocast():
        logits: Tensor = model(pixel_values=batch.pixel_values).logits
    return logits.float()


def weighted_losses(logits: Tensor, batch: PhotoBatch, label_smoothing: float = 0.0) -> Tensor:
    """Compute cross entropy times photo weight, (B,)."""
    losses = cross_entropy(logits, batch.label_ids, reduction="none", label_smoothing=label_smoothing)  # (B,)
    return losses * batch.weights


@torch.no_grad()
def measure_batches(
    model: Any, labels: Sequence[str], batches: Iterable[PhotoBatch], device: TrainingDevice, stop: Callable[[], bool]
) -> Metrics:
    """Measure a classifier.

    Args:
        model: the classifier, on the device.
        labels: class names by id.
        batches: all photos of a split.
        device: device and precision of the forward passes.
        stop: asked after each batch.

    Raises:
        StoppedError: `stop()` returned true. A validation takes minutes; the last checkpoint before it holds all but
            the last few steps.
    """
    model.eval()
    logits, label_ids, weights = [], [], []
    for batch in batches:
        logits.append(compute_logits(model, batch.to(device.name), device).cpu())  # (B, classes)
        label_ids.append(batch.label_ids)
        weights.append(batch.weights)
        if stop():
            raise StoppedError("stopped during a validation; run the same command again to go on")
    return compute_metrics(torch.cat(logits), torch.cat(label_ids), torch.cat(weights), labels)


def compute_metrics(logits: Tensor, label_ids: Tensor, weights: Tensor, labels: Sequence[str]) -> Metrics:
    """Compute the metrics of n photos, as `vitrollout evaluate` does.

    Args:
        logits: (n, C) float32.
        label_ids: (n,) true classes.
        weights: (n,) factors on the loss.
        labels: class names by id.
    """
    losses = cross_entropy(logits, label_ids, reduction="none") * weights  # (n,)
    finite = losses[losses.isfinite()]
    predicted, present = logits.argmax(1), sorted(set(label_ids.tolist()))
    defect_recall, false_alarms = _measure_defects(logits, label_ids, labels)
    scores = f1_score(label_ids, predicted, labels=list(range(logits.shape[1])), average=None, zero_division=0)
    accuracy, macro_f1 = float(accuracy_score(label_ids, predicted)), float(scores[present].mean())
    defects = sum(not is_good_label(labels[label_id]) for label_id in label_ids.tolist())
    return Metrics(
        accuracy=accuracy,
        macro_f1=macro_f1,
        loss=float(finite.mean()),
        f1=tuple(float(score) if label_id in present else None for label_id, score in enumerate(scores)),
        defect_recall=defect_recall,
        false_alarms=false_alarms,
        errors={
            "loss": float((finite - finite.mean()).square().sum().sqrt()) / max(1, len(finite)),
            "accuracy": _error_of_share(accuracy, len(label_ids)),
            "macro_f1": _error_of_share(macro_f1, len(label_ids)),
            "defect_recall": _error_of_share(defect_recall, defects),
        },
    )


def _error_of_share(share: float, count: int) -> float:
    """Return the standard error of a share of so many photos."""
    return math.sqrt(share * (1 - share) / max(1, count))


def _measure_defects(logits: Tensor, label_ids: Tensor, labels: Sequence[str]) -> tuple[float, float]:
    """Compute `defect_recall` and `false_alarms` from the ROC curve of "any defect"."""
    is_good = torch.tensor([is_good_label(label) for label in labels])
    is_defect = ~is_good[label_ids]
    if not logits.isfinite().all() or is_defect.all() or not is_defect.any():
        return math.nan, math.nan
    false_alarms, recall, _ = roc_curve(is_defect, logits.double().softmax(1)[:, ~is_good].sum(1))
    rates = np.linspace(0, _FALSE_ALARMS, 101)
    area = np.trapezoid(np.interp(rates, false_alarms, recall), rates)
    return float(area / _FALSE_ALARMS), float(false_alarms[np.searchsorted(recall, _WANTED_RECALL)])


def worst_classes(metrics: Metrics, count: int) -> list[int]:
    """Return the ids of the classes with the lowest F1, those without photos left out."""
    scores = {label_id: score for label_id, score in enumerate(metrics.f1) if score is not None}
    return sorted(scores, key=lambda label_id: scores[label_id])[:count]


def format_f1(metrics: Metrics, labels: Sequence[str], count: int) -> str:
    """List the F1 of each class, of many classes the lowest ones."""
    chosen = worst_classes(metrics, count)
    listed = ", ".join(f"{labels[label_id]} {metrics.f1[label_id]:.2f}" for label_id in sorted(chosen))
    return f"lowest F1: {listed}" if len(chosen) < len(labels) else f"F1: {listed}"


def best_epoch(history: Sequence[Metrics], best_by: str) -> int:
    """Return the number of the best epoch, from 1: of those as good as the best, the last.

    As good means: at least the score of each epoch less its standard error. Differences within it are chance, and the
    longest trained model is the one with the smallest rate and the smoothest weights (compare the rule of one standard
    error: Breiman et al., Classification and Regression Trees, 1984).
    """
    good = _find_good(history, best_by)
    return len(good) - good[::-1].index(True)


def is_best(history: Sequence[Metrics], best_by: str) -> bool:
    """Return True if the last validation is as good as the best."""
    return _find_good(history, best_by)[-1]


def has_stalled(history: Sequence[Metrics], best_by: str, patience: int | None) -> bool:
    """Return True if the last `patience` validations brought no better one."""
    scores = _comparable_scores(history, best_by)
    return patience is not None and bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience


def _find_good(history: Sequence[Metrics], best_by: str) -> list[bool]:
    """Tell of each validation whether it is as good as the best."""
    scores = _comparable_scores(history, best_by)
    errors = [metrics.errors.get(best_by, 0.0) for metrics in history]
    bar = max(score - error if math.isfinite(score) else score for score, error in zip(scores, errors, strict=True))
    return [score >= bar for score in scores]


def _comparable_scores(history: Sequence[Metrics], best_by: str) -> list[float]:
    """Return one score per validation, larger is better (a loss is negated), NaN the worst."""
    sign = -1.0 if best_by == "loss" else 1.0
    scores = [sign * getattr(metrics, best_by) for metrics in history]
    return [-math.inf if math.isnan(score) else score for score in scores]
