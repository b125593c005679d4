"""Measured maps -> their means over photos, with 95% intervals, and the methods compared in pairs."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.intervals import Estimate, bootstrap, normal_mean_interval, share_interval
from pipeline.trust.baselines import BASELINES
from pipeline.trust.comparison import Gain, compare_in_pairs
from pipeline.trust.config import TrustConfig
from pipeline.trust.result import MeasuredMap, TrustReport

_SIGNED = {"faithfulness", "shuffled_weights", "other_label"}  # the other metrics are in 0..1


def summarise_maps(
    maps: Sequence[MeasuredMap], seconds: dict[str, float], config: TrustConfig, *, failed: int
) -> TrustReport:
    """Average the metrics over the photos, with intervals from resampled photos.

    Args:
        maps, seconds, failed: as in `TrustReport`.
        config: methods, resamples and seed.
    """
    methods: list[str] = [*config.methods, *BASELINES]
    by_method = {method: [measured.metrics() for measured in maps if measured.method == method] for method in methods}
    names = list(by_method[methods[0]][0])
    # (methods, photos, metrics)
    values = np.array([[list(metrics.values()) for metrics in by_method[method]] for method in methods])

    def average_photos(indices: npt.NDArray[np.int64]) -> dict[str, float]:
        chosen = values[:, indices]
        is_defined = ~np.isnan(chosen)
        counts = is_defined.sum(axis=1)
        sums = np.where(is_defined, chosen, 0).sum(axis=1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)  # (methods, metrics)
        return {f"{row} {column}": float(means[row, column]) for row, column in np.ndindex(means.shape)}

    averages = bootstrap(average_photos, values.shape[1], resamples=config.resamples, seed=config.seed)
    estimates = {
        method: {
            name: _widen_for_few_photos(name, averages[f"{row} {column}"], values[row, :, column])
            for column, name in enumerate(names)
        }
        for row, method in enumerate(methods)
    }
    faithfulness, hits = (values[:, :, names.index(name)] for name in ("faithfulness", "hit_grid"))  # (methods, photos)
    is_pointed = ~np.isnan(hits[0])

    def compare(values: npt.NDArray[np.float64]) -> dict[str, dict[str, Gain]]:
        by_method = dict(zip(methods, values, strict=True))
        return compare_in_pairs(by_method, resamples=config.resamples, seed=config.seed)

    return TrustReport(
        *(maps, estimates, seconds),
        photos=values.shape[1],
        failed=failed,
        pointed=int(is_pointed.sum()),
        gains=compare(faithfulness),
        hit_gains=compare(hits[:, is_pointed]) if is_pointed.any() else {},
    )


def _widen_for_few_photos(name: str, estimate: Estimate, values: npt.NDArray[np.float64]) -> Estimate:
    """Give shares of hits their exact interval; widen other intervals by Student's."""
    defined = values[~np.isnan(values)]
    if name.startswith("hit_"):
        return Estimate(estimate.value).widen(share_interval(float(defined.sum()), len(defined)))
    limits = (-1.0, 1.0) if name in _SIGNED else (0.0, 1.0)
    return estimate.widen(normal_mean_interval(defined, limits))
