"""The share of held-out training photos more typical than a photo, from the features behind its logits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from hashlib import blake2b

import numpy as np

from pipeline.records import Doubles, Floats, Halves

_SHORTEST = 1e-20  # features of this length stay as they are, so zeros stay zeros
_MOST_DIRECTIONS = 256  # of the covariance; the rest of a feature vector counts by its length
_MOST_QUANTILES = 400
_TAIL = 0.1  # share of the held-out photos behind the shape of the tail
_FEWEST_IN_TAIL = 5  # of few held-out photos
_SHORTEST_TAIL = 0.02  # of the largest distance, for held-out photos that are all alike


@dataclass(frozen=True)
class FittedOn:
    """The origin of the statistics.

    Attributes:
        photos: number of training photos behind the means and the covariance.
        held_out: number of further photos behind the quantiles.
        input_size: (H, W) in pixels, or None for the model's own.
        precision: of the forward pass.
    """

    photos: int
    held_out: int
    input_size: tuple[int, int] | None
    precision: str


@dataclass(frozen=True)
class Familiarity:
    """Statistics of the features of a model's training photos.

    The distance of a photo is that of Mahalanobis to the nearest class mean, with one covariance for all classes (Lee
    et al. 2018, arXiv:1807.03888), between features scaled to length 1 (Mueller & Hein 2025, arXiv:2505.18032). The
    covariance is kept as its largest directions and one variance for all others.

    Attributes:
        means: (C, D), of the scaled features of the classes with training photos.
        directions: (D, K), eigenvectors of the covariance.
        variances: (K,), along them.
        rest: (1,), variance along every other direction.
        distances: (Q,), ascending, quantiles of the held-out photos' distances.
        levels: (Q,), 0..1, share of held-out photos below each quantile.
        tail: (1,), mean excess of the upper tenth over its smallest distance.
        fitted_on: the origin.
    """

    means: Floats
    directions: Halves
    variances: Floats
    rest: Floats
    distances: Floats
    levels: Floats
    tail: Floats
    fitted_on: FittedOn

    def unfamiliarity(self, features: Floats) -> Floats:
        """Return the share of held-out training photos more typical than each photo, (n,), 0..1.

        Args:
            features: (n, D), as of `Prediction.features`.
        """
        return self.share_below(self.distance(features))

    def share_below(self, distance: Doubles) -> Floats:
        """Return the share of held-out photos with a smaller distance, (n,); past the last one it nears 1 smoothly."""
        within = np.interp(distance, self.distances, self.levels)
        excess = np.maximum(distance - self.distances[-1], 0) / self.tail[0]
        share: Doubles = 1 - (1 - within) * np.exp(-excess)
        return share.astype(np.float32)

    def distance(self, features: Floats) -> Doubles:
        """Return the distance to the nearest class mean, (n,), in standard deviations; arguments as `unfamiliarity`."""
        scaled = _scale_to_length_1(features)
        along, along_means = _multiply(scaled, self._directions), self._along_means  # (n, K), (C, K)
        deviations = np.sqrt(self.variances)
        squares = _squared_distances(along / deviations, along_means / deviations)  # (n, C)
        rest = _squared_distances(scaled, self.means) - _squared_distances(along, along_means)
        squares += np.maximum(rest, 0) / self.rest[0]
        nearest: Doubles = np.sqrt(squares.min(axis=1))
        return nearest

    def digest(self) -> str:
        """Hash everything with an effect on the numbers, and nothing else."""
        hashed = blake2b(digest_size=8)
        for array in self.arrays().values():
            hashed.update(array.tobytes())
        return hashed.hexdigest()

    @cached_property
    def _directions(self) -> Floats:
        rounded = self.directions.astype(np.float32)
        # at right angles again, as before float16: one step of Newton and Schulz
        directions: Floats = np.ascontiguousarray((1.5 * rounded - 0.5 * rounded @ (rounded.T @ rounded)).T)
        return directions  # (K, D)

    @cached_property
    def _along_means(self) -> Floats:
        along: Floats = _multiply(self.means, self._directions)
        return along

    def arrays(self) -> dict[str, Floats | Halves]:
        """Return the arrays by name, as they stand in the file."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "fitted_on"}


def fit_familiarity(
    features: Floats,
    label_ids: Sequence[int],
    held_out: Floats,
    *,
    input_size: tuple[int, int] | None = None,
    precision: str = "fp32",
) -> Familiarity:
    """Compute the statistics of training photos.

    Args:
        features: (n, D), of the training photos.
        label_ids: (n,), their classes.
        held_out: (m, D), features of photos of the same kind not used for training, a few dozen at least.
        input_size: the model's input when the features were computed, (H, W); None for its own.
        precision: of that forward pass.

    Raises:
        ValueError: there are no photos of one kind, or a feature is not finite.
    """
    from sklearn.covariance import LedoitWolf

    if not len(features) or not len(held_out):
        raise ValueError("no training photos, or none held out")
    if not (np.isfinite(features).all() and np.isfinite(held_out).all()):
        raise ValueError("a feature is not finite")
    classes, class_of = np.unique(np.asarray(label_ids), return_inverse=True)
    values = _scale_to_length_1(features).astype(np.float64)
    means = np.stack([values[class_of == index].mean(axis=0) for index in range(len(classes))])  # (C, D)
    covariance = LedoitWolf(assume_centered=True).fit(values - means[class_of]).covariance_
    variances, directions = np.linalg.eigh(covariance)  # ascending
    kept = min(_MOST_DIRECTIONS, len(variances))
    rest = variances[:-kept] if kept < len(variances) else variances[:1]
    smallest = float(np.finfo(np.float32).tiny)
    statistics = Familiarity(
        means=means.astype(np.float32),
        directions=directions[:, -kept:].astype(np.float16),
        variances=np.maximum(variances[-kept:], smallest).astype(np.float32),
        rest=np.maximum(rest.mean(keepdims=True), smallest).astype(np.float32),
        distances=np.zeros(1, np.float32),
        levels=np.zeros(1, np.float32),
        tail=np.ones(1, np.float32),
        fitted_on=FittedOn(len(features), len(held_out), input_size, precision),
    )
    return _set_scale(statistics, statistics.distance(held_out))


def _scale_to_length_1(features: Floats) -> Floats:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Floats = features / np.maximum(lengths, np.float32(_SHORTEST))
    return scaled


def _squared_distances(points: Floats | Doubles, centres: Floats | Doubles) -> Doubles:
    """Return the squared distance of each point (n, W) to each centre (C, W): (n, C)."""
    first, second = points.astype(np.float64), centres.astype(np.float64)
    squares = np.square(first).sum(axis=1, keepdims=True) + np.square(second).sum(axis=1)
    distances: Doubles = np.maximum(squares - 2 * np.einsum("nw,cw->nc", first, second), 0)
    return distances


def _multiply(rows: Floats, directions: Floats) -> Floats:
    """Return rows (n, D) along directions (K, D): (n, K).

    Not as a product of matrices: BLAS would wait for threads on cores that are busy with the model.
    """
    along: Floats = np.einsum("nd,kd->nk", rows, directions)
    return along


def _set_scale(statistics: Familiarity, distances: Doubles) -> Familiarity:
    """Set the scale from distances to shares of held-out photos, (m,)."""
    ordered = np.sort(distances)
    count = len(ordered)
    shares = np.arange(1, count + 1) / (count + 1)  # of the next photo's distances, below each of these
    kept = np.unique(np.linspace(0, count - 1, min(count, _MOST_QUANTILES)).round().astype(int))
    upper = ordered[-max(_FEWEST_IN_TAIL, math.ceil(count * _TAIL)) :]
    excess = float((upper[1:] - upper[0]).mean()) if len(upper) > 1 else 0.0
    smallest = max(float(ordered[-1]) * _SHORTEST_TAIL, float(np.finfo(np.float32).tiny))
    return replace(
        statistics,
        distances=ordered[kept].astype(np.float32),
        levels=shares[kept].astype(np.float32),
        tail=np.array([max(excess, smallest)], np.float32),
    )
