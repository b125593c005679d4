"""Methods compared photo by photo: all see the same photos, so only the differences count, not the spread of photos."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.intervals import Estimate, normal_mean_interval
from pipeline.records import Doubles

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Gain:
    """The difference of one method to another.

    Attributes:
        mean: mean difference over the photos, with its 95% interval.
        better: number of photos with a positive difference.
    """

    mean: Estimate
    better: int

    def as_json(self) -> dict[str, Any]:
        """Convert to plain numbers for JSON."""
        return self.mean.as_json() | {"better": self.better}


def compare_in_pairs(values: Mapping[str, Doubles], *, resamples: int, seed: int) -> dict[str, dict[str, Gain]]:
    """Compare every method with every other one by a paired bootstrap over photos.

    The interval is the union with Student's: resamples of few photos vary too little.

    Args:
        values: by method, one value for each of n photos, -1..1; NaN nowhere.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        By method and other method.
    """
    names = list(values)
    pairs = list(itertools.permutations(names, 2))
    differences = np.array([values[first] - values[second] for first, second in pairs])  # (pairs, n)
    count = differences.shape[1]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), resamples) / count  # (resamples, n)
    limits = np.percentile(differences @ weights.T, _PERCENTILES, axis=1).T  # (pairs, 2)
    gains: dict[str, dict[str, Gain]] = {name: {} for name in names}
    for (first, second), difference, (low, high) in zip(pairs, differences, limits.tolist(), strict=True):
        mean = Estimate(float(difference.mean()), low, high).widen(normal_mean_interval(difference, (-2, 2)))
        gains[first][second] = Gain(mean, int((difference > 0).sum()))
    return gains
