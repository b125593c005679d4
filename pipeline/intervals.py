"""95% intervals of metrics, honest for few photos too.

Shares (accuracy, recall, precision, false alarms) have the exact interval of Clopper and Pearson: too wide at times,
never too narrow. The other formulas keep their width where all photos are right; resampling alone would then say
"1.0 to 1.0" for five photos.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri, stdtrit  # scipy.stats takes a second to import

_COVERAGE = 0.95
_PERCENTILES = (2.5, 97.5)  # of the resamples
_Z = float(ndtri(0.975))
_NEXT = 1e-9  # beside 0 and 1, roots of no interest

Interval = tuple[float, float]
UNKNOWN: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95% interval; NaN if it is undefined on these photos."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def as_json(self) -> dict[str, float | None]:
        """Convert to plain numbers for JSON, null for NaN."""
        return {name: None if math.isnan(number) else number for name, number in asdict(self).items()}

    def widen(self, interval: Interval) -> "Estimate":
        """Return the union with another interval of the same metric, NaN left out; the value is always inside."""
        limits = [limit for limit in (self.low, self.high, *interval) if not math.isnan(limit)]
        if math.isnan(self.value) or not limits:
            return Estimate(self.value)
        return Estimate(self.value, min(self.value, *limits), max(self.value, *limits))


def share_interval(hits: float, count: float) -> Interval:
    """Compute the exact interval of a share (Clopper & Pearson, Biometrika 1934); NaN for a count of 0.

    Args:
        hits: number of hits; fractions are allowed.
        count: number of trials.
    """
    if count <= 0:
        return UNKNOWN
    tail = (1 - _COVERAGE) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return low, high


def f1_interval(true_positives: float, errors: float) -> Interval:
    """Compute the interval of an F1 score.

    F1 = 2 J / (1 + J) with the share J of true positives among true positives and errors. Of photos drawn
    independently, that count is binomial given their number, so the exact interval of J carries over.

    Args:
        true_positives: photos of the class, recognised.
        errors: photos missed, and photos taken for the class.
    """
    low, high = share_interval(true_positives, true_positives + errors)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def auc_interval(auc: float, positives: float, negatives: float) -> Interval:
    """Compute the interval of an area under the ROC curve (Newcombe, Statistics in Medicine 2006, part 2, method 5).

    Args:
        auc: the area, 0..1.
        positives, negatives: numbers of photos.
    """
    if math.isnan(auc) or not positives or not negatives:
        return UNKNOWN
    from scipy.optimize import brentq

    half = (positives + negatives) / 2 - 1

    def distance(area: float) -> float:
        """Tell how far the observed area lies from a true one, beyond the limits of chance."""
        spread = area * (1 - area) * (1 + half * ((1 - area) / (2 - area) + area / (1 + area)))
        return abs(auc - area) - _Z * math.sqrt(spread / (positives * negatives))

    low = 0.0 if auc == 0 else float(brentq(distance, 0, min(auc, 1 - _NEXT)))
    high = 1.0 if auc == 1 else float(brentq(distance, max(auc, _NEXT), 1))
    return low, high


def mean_interval(values: Sequence[float], intervals: Sequence[Interval], *, shared_by: int = 1) -> Interval:
    """Combine intervals of metrics into that of their mean (Zou & Donner, Statistics in Medicine 2008).

    Args:
        values: the metrics, at least one.
        intervals: low and high of each.
        shared_by: number of metrics changed by one error: 1 for independent ones; 2 for classes, since a photo missed
            by one class is taken for another.
    """
    value, limits = np.asarray(values), np.asarray(intervals)  # (n,), (n, 2)
    distances = np.abs(value[:, None] - limits)
    together = np.minimum(np.sqrt(shared_by * (distances**2).sum(axis=0)), distances.sum(axis=0))  # (2,)
    below, above = together / len(value)
    return float(value.mean() - below), float(value.mean() + above)


def normal_mean_interval(values: npt.NDArray[np.float64], limits: Interval) -> Interval:
    """Compute Student's interval of a mean, within the limits of its values; NaN for fewer than two values."""
    if len(values) < 2:
        return UNKNOWN
    half = float(stdtrit(len(values) - 1, (1 + _COVERAGE) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return max(limits[0], float(values.mean()) - half), min(limits[1], float(values.mean()) + half)


def trials_to_show(share: float) -> int | None:
    """Return the least number of trials, all hits, to show a share with 95% confidence; None for 1, never shown.

    With n hits of n, the share is at least 0.05 ** (1 / n), about 1 - 3 / n: the rule of three (Hanley &
    Lippman-Hand, JAMA 1983).
    """
    return None if share >= 1 else math.ceil(math.log(1 - _COVERAGE) / math.log(share))


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
