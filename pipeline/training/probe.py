"""The linear probe: a logistic regression on the features of a frozen backbone, as the head of the network itself.

It takes one pass over the photos. Fine-tuning starts from it rather than from a random head, whose large gradients
would bend the features first (LP-FT: Kumar et al., ICLR 2022, arXiv:2202.10054), and has to beat it on validation.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pipeline.model.features import find_heads
from pipeline.records import Doubles, Floats

Ids = npt.NDArray[np.int64]

_STRENGTHS = (0.003, 0.03, 0.3)  # sklearn's C on standardised features: smaller is more regularised
_FOLDS = 3
_STEPS = 300  # of the solver
_ERRORS = 0.5  # standard errors of the loss between depths as good as equal
_WORSE_BY = 1.25  # times the loss: then copies of a photo, mirrored or turned, are other objects


@dataclass(frozen=True)
class ProbeData:
    """The features of labelled photos.

    Attributes:
        features: (n, F), or (D, n, F) at several depths.
        label_ids: (n,); each class has photos.
        weights: (n,), factors on the loss.
        groups: (n,), equal for photos of one group.
    """

    features: Floats
    label_ids: Ids
    weights: Doubles
    groups: Ids

    def at(self, depth: int) -> "ProbeData":
        """Return the features of one depth, by its index."""
        return ProbeData(self.features[depth], self.label_ids, self.weights, self.groups)

    def select(self, rows: npt.NDArray[Any]) -> "ProbeData":
        """Return some of the photos."""
        return ProbeData(self.features[rows], self.label_ids[rows], self.weights[rows], self.groups[rows])


@dataclass(frozen=True)
class Probe:
    """A fitted head.

    Attributes:
        weight: (C, F).
        bias: (C,).
    """

    weight: Doubles
    bias: Doubles

    def logits(self, features: Floats) -> Doubles:
        """Compute the logits, (n, C), of features (n, F)."""
        result: Doubles = features @ self.weight.T + self.bias
        return result

    def log_likelihoods(self, data: ProbeData) -> Doubles:
        """Return the log probability of each photo's own class, (n,)."""
        likelihoods: Doubles = log_softmax(self.logits(data.features), axis=1)[
            np.arange(len(data.label_ids)), data.label_ids
        ]
        return likelihoods

    @classmethod
    def read(cls, model: Any) -> Self:
        """Read the head of a network; of two heads, whose logits are averaged, the features stand side by side."""
        heads = find_heads(model)
        weight = torch.cat([head.weight for head in heads], dim=1) / len(heads)  # (C, F)
        bias = torch.stack([head.bias for head in heads]).mean(dim=0)
        return cls(*(tensor.detach().cpu().double().numpy() for tensor in (weight, bias)))

    def install(self, model: Any) -> None:
        """Write the probe into the head of a network, the inverse of `read`."""
        heads = find_heads(model)
        parts = np.split(self.weight * len(heads), len(heads), axis=1)
        with torch.no_grad():
            for head, part in zip(heads, parts, strict=True):
                head.weight.copy_(torch.from_numpy(part))
                head.bias.copy_(torch.from_numpy(self.bias))


def fit_probe(data: ProbeData, strength: float, views: Sequence[ProbeData] = ()) -> Probe:
    """Fit a weighted multinomial logistic regression.

    Args:
        data: the photos, features (n, F).
        strength: sklearn's C on standardised features.
        views: copies of all or some of them; the sum of all weights stays that of the photos.
    """
    parts = [data, *views]
    features, label_ids, weights = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "label_ids", "weights")
    )
    weights = weights * (data.weights.sum() / weights.sum())
    scaler = StandardScaler().fit(features)
    # matrices too small for several threads: those would wait for each other, most of all beside other work
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of a starting point don't matter
        fitted = LogisticRegression(C=strength, max_iter=_STEPS).fit(scaler.transform(features), label_ids, weights)
    weight, bias = fitted.coef_.astype(np.float64), fitted.intercept_.astype(np.float64)
    if len(weight) == 1:  # two classes have one row, the difference of their logits
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / scaler.scale_
    return Probe(weight, bias - weight @ scaler.mean_)


def choose_depth(train: ProbeData, validation: ProbeData, seed: int) -> tuple[int, float, Doubles]:
    """Choose depth and strength by the loss on photos not fitted: validation, and the training photos out of fold.

    The least depth within half a standard error of the best loss (Breiman et al., Classification and Regression Trees,
    1984, take one): deeper features that are no better fit other photos worse, and take longer.

    Args:
        train, validation: features (D, n, F), from the least depth to the largest.
        seed: of the folds.

    Returns:
        Index of the depth, the strength, and the least mean loss at each depth, (D,).
    """
    losses = [
        [_held_out_losses(train.at(depth), validation.at(depth), strength, seed) for strength in _STRENGTHS]
        for depth in range(len(train.features))
    ]
    means = np.array([[one.mean() for one in at_depth] for at_depth in losses])  # (D, strengths)
    best = losses[means.min(axis=1).argmin()][means.min(axis=0).argmin()]
    bar = best.mean() + _ERRORS * best.std() / np.sqrt(len(best))
    depth = int((means.min(axis=1) <= bar).argmax())
    return depth, _STRENGTHS[means[depth].argmin()], means.min(axis=1)


def count_harmless_views(
    train: ProbeData, views: Sequence[ProbeData], strength: float, seed: int
) -> tuple[int, Doubles]:
    """Find how many kinds of copies may be learnt as the same object, by the loss on the photos as they are.

    Where the orientation tells classes apart, mirrored copies contradict each other: the loss rises by a quarter, and
    by more than two standard errors.

    Args:
        train: features (n, F) of the photos as they are.
        views: a copy of each of them, in the same order, the most harmless kind first.
        strength: of the probe.
        seed: of the folds.

    Returns:
        The number of harmless kinds, and the mean loss with none, one, two ... kinds.
    """
    folds = [
        [
            _losses(fit_probe(train.select(fitted), strength, [view.select(fitted) for view in views[:count]]), judged)
            for count in range(1 + len(views))
        ]
        for fitted, judged in ((rows, train.select(others)) for rows, others in _split_folds(train, seed))
    ]
    if not folds:
        return len(views), np.zeros(1 + len(views))
    losses = np.concatenate(folds, axis=1)  # (1 + views, n)
    rises = losses - losses[0]
    means, errors = losses.mean(axis=1), rises.std(axis=1) / np.sqrt(losses.shape[1])
    worse = (means > _WORSE_BY * means[0]) & (rises.mean(axis=1) > 2 * errors)
    return int(worse.argmax() if worse.any() else len(means)) - 1, means


def predict_out_of_fold(data: ProbeData, strength: float, seed: int) -> Doubles:
    """Compute the log probabilities of all classes, (n, C), each photo's by a probe fitted without its fold."""
    logits = np.zeros((len(data.label_ids), data.label_ids.max() + 1))
    for fitted, judged in _split_folds(data, seed):
        logits[judged] = fit_probe(data.select(fitted), strength).logits(data.features[judged])
    result: Doubles = log_softmax(logits, axis=1)
    return result


def _held_out_losses(train: ProbeData, validation: ProbeData, strength: float, seed: int) -> Doubles:
    """Return the loss of each photo by a probe fitted without it, validation first; weights are 1 on average."""
    losses = [_losses(fit_probe(train, strength), validation)]
    for fitted, judged in _split_folds(train, seed):
        losses.append(_losses(fit_probe(train.select(fitted), strength), train.select(judged)))
    return np.concatenate(losses)


def _losses(probe: Probe, data: ProbeData) -> Doubles:
    losses: Doubles = -probe.log_likelihoods(data) * data.weights / data.weights.mean()
    return losses


def _split_folds(data: ProbeData, seed: int) -> Iterator[tuple[Ids, Ids]]:
    """Yield the rows to fit and to judge of each fold; whole groups lie in one, and every fold fits all classes."""
    count = min(_FOLDS, int(np.bincount(data.label_ids).max()), len(set(data.groups.tolist())))
    if count < 2:
        return
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer photos than folds
        for fitted, judged in folds.split(data.features, data.label_ids, data.groups):
            if len(set(data.label_ids[fitted])) == len(set(data.label_ids)):
                yield fitted, judged
