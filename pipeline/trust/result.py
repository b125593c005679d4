"""The result of a measurement of trust: measured maps, and their summary in numbers and in one sentence."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from pipeline.intervals import Estimate, bootstrap
from pipeline.maps.methods import METHODS
from pipeline.trust.baselines import BASELINES
from pipeline.trust.config import TrustConfig
from pipeline.trust.deletion import FILLS, Curve
from pipeline.trust.pointing import Pointing

# Rank correlations above these fail a sanity check: the map should differ more from its reference.
_SHUFFLED_AT_MOST = 0.5
_OTHER_LABEL_AT_MOST = 0.95

_NO_POINTING = Pointing(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class MeasuredMap:
    """One map of one photo, measured.

    Attributes:
        path: the photo.
        label: its true class; None: unknown.
        target: the label explained by the map, the most likely one.
        score: softmax probability of the target.
        method: name of a method or of a baseline.
        curves: by `deletion_blur`, `deletion_mean`, `insertion_blur`, `insertion_mean`.
        on_grid, on_photo: pointing at the map's resolution and at the photo's; None without a known defect.
        other_label: rank correlation with the map for the second most likely label; NaN for baselines.
        shuffled_weights: rank correlation with the map of the model with shuffled weights; NaN for baselines.
    """

    path: str
    label: str | None
    target: str
    score: float
    method: str
    curves: dict[str, Curve]
    on_grid: Pointing | None
    on_photo: Pointing | None
    other_label: float
    shuffled_weights: float

    def metrics(self) -> dict[str, float]:
        """Return all metrics by name, NaN for undefined ones.

        Pointing is undefined for wrong labels: the map of a wrong label need not point at the defect.
        """
        areas = {name: curve.area for name, curve in self.curves.items()}
        gain = np.mean([areas[f"insertion_{fill}"] - areas[f"deletion_{fill}"] for fill in FILLS])
        is_right = self.label in (None, self.target)
        pointing = {
            f"{name}_{resolution}": value
            for resolution, measured in (("grid", self.on_grid), ("photo", self.on_photo))
            for name, value in asdict(measured if measured and is_right else _NO_POINTING).items()
        }
        correlations = {"shuffled_weights": self.shuffled_weights, "other_label": self.other_label}
        return areas | {"faithfulness": float(gain)} | pointing | correlations


@dataclass(frozen=True)
class TrustReport:
    """The measured maps, and their means over photos.

    Attributes:
        maps: every map of every photo.
        estimates: by method, then by the names of `MeasuredMap.metrics`; methods first, baselines last.
        seconds: median seconds per image by method, classification included.
        photos: number of photos measured.
        failed: number of photos left out.
        pointed: number of photos behind the metrics of pointing.
    """

    maps: Sequence[MeasuredMap]
    estimates: dict[str, dict[str, Estimate]]
    seconds: dict[str, float]
    photos: int
    failed: int
    pointed: int

    @property
    def baseline(self) -> str:
        """The baseline with the best order of patches."""
        return max(BASELINES, key=self._faithfulness_of)

    @property
    def failed_sanity_checks(self) -> dict[str, str]:
        """The methods with maps independent of something they claim to explain, and its name."""
        failed = {}
        for method in self.seconds:
            estimates = self.estimates[method]
            if estimates["shuffled_weights"].value > _SHUFFLED_AT_MOST:
                failed[method] = "what the model has learnt"
            elif METHODS[method].explains_label and estimates["other_label"].value > _OTHER_LABEL_AT_MOST:
                failed[method] = "the label"
        return failed

    @property
    def trusted(self) -> list[str]:
        """The methods better than every baseline, with disjoint intervals, and sane; best first."""
        limit = max(self.estimates[baseline]["faithfulness"].high for baseline in BASELINES)
        better = [method for method in self.seconds if self.estimates[method]["faithfulness"].low > limit]
        sane = [method for method in better if method not in self.failed_sanity_checks]
        return sorted(sane, key=self._faithfulness_of, reverse=True)

    @property
    def sentence(self) -> str:
        """Advice in one sentence: the method to use for this model."""
        best_baseline = f"{self.baseline}: {format_estimate(self.estimates[self.baseline]['faithfulness'])}"
        failed = self.failed_sanity_checks.items()
        warnings = "".join(f" {method} does not depend on {claim}." for method, claim in failed)
        if not self.trusted:
            return (
                f"None of the {len(self.seconds)} methods ranks the patches better than the baselines "
                f"({best_baseline}): don't trust maps of this model.{warnings}"
            )
        best, *others = self.trusted
        top = self.estimates[best]["faithfulness"]
        equal = [method for method in others if self.estimates[method]["faithfulness"].high >= top.low]
        ties = f"; {', '.join(equal)} {'are' if len(equal) > 1 else 'is'} not significantly different" if equal else ""
        hit = self.estimates[best]["hit_grid"].value
        pointing = "" if math.isnan(hit) else f", points inside the marked defect in {hit:.0%} of {self.pointed} photos"
        return (
            f"Use {best}: of {len(self.seconds)} methods it ranks the patches best (insertion - deletion "
            f"{format_estimate(top)}; the best baseline, {best_baseline}){pointing}, "
            f"and takes {self.seconds[best]:.3f} s an image{ties}.{warnings}"
        )

    def _faithfulness_of(self, method: str) -> float:
        return self.estimates[method]["faithfulness"].value


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
        method: {name: averages[f"{row} {column}"] for column, name in enumerate(names)}
        for row, method in enumerate(methods)
    }
    pointed = int((~np.isnan(values[0, :, names.index("hit_grid")])).sum())
    return TrustReport(maps, estimates, seconds, photos=values.shape[1], failed=failed, pointed=pointed)


def format_estimate(estimate: Estimate) -> str:
    """Format a value with its interval; empty for NaN."""
    if math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
