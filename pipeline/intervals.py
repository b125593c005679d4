"""Metrics with 95% intervals, by resampling photos."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

_PERCENTILES = (2.5, 97.5)  # of the resamples: a 95% interval


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95% bootstrap interval; NaN if it is undefined on these photos."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def as_json(self) -> dict[str, float | None]:
        """Convert to plain numbers for JSON, null for NaN."""
        return {name: None if math.isnan(number) else number for name, number in asdict(self).items()}


def bootstrap(
    measure: Callable[[npt.NDArray[np.int64]], Mapping[str, float]], count: int, *, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Estimate metrics and their percentile intervals by drawing photos with replacement (Efron 1979).

    Args:
        measure: photo indices (n,) -> metrics by name.
        count: n.
        resamples: number of draws; 0 gives values without intervals.
        seed: of the draws.
    """
    values = measure(np.arange(count))
    rng = np.random.default_rng(seed)
    resampled = [measure(rng.integers(count, size=count)) for _ in range(resamples)]
    return {name: _estimate(value, [draw[name] for draw in resampled]) for name, value in values.items()}


def _estimate(value: float, resampled: Sequence[float]) -> Estimate:
    defined = [draw for draw in resampled if not math.isnan(draw)]  # a resample may lack a class
    if not defined or math.isnan(value):
        return Estimate(value)
    low, high = np.percentile(defined, _PERCENTILES)
    return Estimate(value, float(low), float(high))
