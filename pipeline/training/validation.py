"""The loss and the metrics of a classifier on labelled photos, and the judgement of a training by them."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.errors import StoppedError
from pipeline.training.data import PhotoBatch
from pipeline.training.device import TrainingDevice

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metrics:
    """Metrics of one pass over a split.

    Attributes:
        accuracy: share of photos labelled correctly, 0..1.
        macro_f1: mean of the F1 scores of all classes, 0..1.
        loss: weighted cross entropy, mean over the photos with a finite loss; NaN without any.
    """

    accuracy: float
    macro_f1: float
    loss: float


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
    model: Any, batches: Iterable[PhotoBatch], device: TrainingDevice, stop: Callable[[], bool]
) -> Metrics:
    """Measure a classifier.

    Args:
        model: the classifier, on the device.
        batches: all photos of a split.
        device: device and precision of the forward passes.
        stop: asked after each batch.

    Raises:
        StoppedError: `stop()` returned true. A validation takes minutes; the last checkpoint before it holds all but
            the last few steps.
    """
    model.eval()
    losses, predicted_ids, label_ids = [], [], []
    for batch in batches:
        batch = batch.to(device.name)
        logits = compute_logits(model, batch, device)  # (B, classes)
        losses.append(weighted_losses(logits, batch).cpu())
        predicted_ids.append(logits.argmax(1).cpu())
        label_ids.append(batch.label_ids.cpu())
        if stop():
            raise StoppedError("stopped during a validation; run the same command again to go on")
    all_losses, predicted, truth = (torch.cat(parts) for parts in (losses, predicted_ids, label_ids))  # (n,) each
    return Metrics(
        accuracy=float(accuracy_score(truth, predicted)),
        macro_f1=float(f1_score(truth, predicted, average="macro", zero_division=0)),
        loss=float(all_losses[all_losses.isfinite()].mean()),
    )


def is_best(history: Sequence[Metrics], best_by: str) -> bool:
    """Return True if no earlier validation was better than the last: of equals, the longest trained wins."""
    scores = _comparable_scores(history, best_by)
    return scores[-1] == max(scores)


def has_stalled(history: Sequence[Metrics], best_by: str, patience: int | None) -> bool:
    """Return True if the last `patience` validations brought no better one."""
    scores = _comparable_scores(history, best_by)
    return patience is not None and bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience


def _comparable_scores(history: Sequence[Metrics], best_by: str) -> list[float]:
    """Return one score per validation, larger is better (a loss is negated), NaN the worst."""
    sign = -1.0 if best_by == "loss" else 1.0
    scores = [sign * getattr(metrics, best_by) for metrics in history]
    return [-math.inf if math.isnan(score) else score for score in scores]
