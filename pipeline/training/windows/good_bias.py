"""After a training with hard negatives, far more frequent there than in photos: the good class made as likely again."""

import logging
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.labelled.good_labels import is_good_label
from pipeline.training.backbone import is_head
from pipeline.training.data import TrainingData
from pipeline.training.device import TrainingDevice
from pipeline.training.validation import compute_logits

log = logging.getLogger(__name__)

_MOST = 6.0  # a factor of 400 on the odds


def correct_good_bias(model: Any, data: TrainingData, device: TrainingDevice) -> None:
    """Move the bias of the good class to the lowest loss on the validation windows, which have no hard negatives.

    Args:
        model: the classifier, changed in place; one without exactly one good class, or without a bias, stays.
        data: with the split validation.
        device: of the training.
    """
    good = [label_id for label_id, label in enumerate(data.labels) if is_good_label(label)]
    bias = next((weight for name, weight in model.named_parameters() if is_head(name) and name.endswith("bias")), None)
    if len(good) != 1 or bias is None or bias.shape != (len(data.labels),):
        return
    model.eval()
    with torch.no_grad():
        batches = [(batch.label_ids, _predict(model, batch, device)) for batch in data.evaluation_batches("validation")]
        label_ids, logits = (torch.cat(parts) for parts in zip(*batches, strict=True))
        change = fit_bias(logits, label_ids, good[0])
        bias[good[0]] += change
    log.info(
        "the bias of %r is moved by %+.2f, to the lowest loss on windows without hard negatives",
        data.labels[good[0]],
        change,
    )


def fit_bias(logits: Tensor, label_ids: Tensor, label_id: int) -> float:
    """Return what to add to the logit of a class for the lowest loss.

    Args:
        logits: (n, C).
        label_ids: (n,) true classes.
        label_id: of the class.
    """

    def loss(change: float) -> float:
        moved = logits.clone()
        moved[:, label_id] += change
        return float(cross_entropy(moved, label_ids))

    return float(minimize_scalar(loss, bounds=(-_MOST, _MOST), method="bounded").x)


def _predict(model: Any, batch: Any, device: TrainingDevice) -> Tensor:
    return compute_logits(model, batch.to(device.name), device).float().cpu()
