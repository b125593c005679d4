"""The result of a measurement of trust: measured maps, and their summary in numbers and in one sentence."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from pipeline.intervals import Estimate
from pipeline.maps.methods import METHODS
from pipeline.trust.baselines import BASELINES
from pipeline.trust.comparison import Gain
from pipeline.trust.deletion import FILLS, Curve
from pipeline.trust.evidence import Evidence, EvidenceReport
from pipeline.trust.pointing import Pointing

# Rank correlations above these fail a sanity check: the map should differ more from its reference.
_SHUFFLED_AT_MOST = 0.5
_OTHER_LABEL_AT_MOST = 0.95
GAIN_OF_INTEREST = 0.02  # a smaller gain over a baseline is not worth more photos
FEWEST_PHOTOS = 6  # with five, all better than a baseline, chance is still above 5% (sign test)

_NO_POINTING = Pointing(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class MeasuredMap:
    """One map of one photo, measured.

    Attributes:
        path: the photo.
        label: its true class; None: unknown.
        target: the label explained by the map, the most likely one.
        score: of the target, 0..1.
        method: name of a method or of a baseline.
        curves: by `deletion_blur`, `deletion_mean`, `insertion_blur`, `insertion_mean`.
        on_grid, on_photo: pointing at the map's resolution and at the photo's; None without a known defect.
        other_label: rank correlation with the map for the second most likely label; NaN for baselines.
        shuffled_weights: rank correlation with the map of the model with shuffled weights; NaN for baselines.
        evidence: the map itself, and the patch that it points at.
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
    evidence: Evidence

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
        gains: differences in faithfulness, by method and other method, baselines included.
        hit_gains: the same in pointing, on the photos behind its metrics; empty without any.
        evidence: where it lies, class by class; None: not looked for yet.
    """

    maps: Sequence[MeasuredMap]
    estimates: dict[str, dict[str, Estimate]]
    seconds: dict[str, float]
    photos: int
    failed: int
    pointed: int
    gains: dict[str, dict[str, Gain]]
    hit_gains: dict[str, dict[str, Gain]] = field(default_factory=dict)
    evidence: EvidenceReport | None = None

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
        """The methods better than every baseline, photo by photo, and sane; best first."""
        if self.photos < FEWEST_PHOTOS:
            return []
        return [method for method in self._sane_methods if self.gain(method).mean.low > 0]

    @property
    def undecided(self) -> list[str]:
        """The sane methods perhaps better than every baseline: more photos would tell; best first."""
        return [
            method
            for method in self._sane_methods
            if method not in self.trusted
            and min(self.gains[method][baseline].mean.high for baseline in BASELINES) > GAIN_OF_INTEREST
        ]

    @property
    def sentence(self) -> str:
        """Advice in one sentence: the method to use for this model."""
        return _describe_verdict(self)

    def gain(self, method: str) -> Gain:
        """Return the gain over the baseline hardest to beat, by the lower end of its interval."""
        return min((self.gains[method][baseline] for baseline in BASELINES), key=lambda gain: gain.mean.low)

    @property
    def _sane_methods(self) -> list[str]:
        sane = [method for method in self.seconds if method not in self.failed_sanity_checks]
        return sorted(sane, key=self._faithfulness_of, reverse=True)

    def _faithfulness_of(self, method: str) -> float:
        return self.estimates[method]["faithfulness"].value


def _describe_verdict(report: TrustReport) -> str:
    """Name the method to use, or say that none beats the baselines, or that more photos would tell."""
    failed = report.failed_sanity_checks.items()
    warnings = "".join(f" {method} does not depend on {claim}." for method, claim in failed)
    if report.trusted:
        return f"{_recommend_method(report)}.{warnings}"
    if report.undecided:
        return f"{_ask_for_photos(report)}.{warnings}"
    best_baseline = f"{report.baseline}: {format_estimate(report.estimates[report.baseline]['faithfulness'])}"
    return (
        f"None of the {len(report.seconds)} methods ranks the patches better than the baselines "
        f"({best_baseline}): don't trust maps of this model.{warnings}"
    )


def format_estimate(estimate: Estimate) -> str:
    """Format a value with its interval; empty for NaN."""
    if math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:z.3f} ({estimate.low:z.3f} to {estimate.high:z.3f})"


def _recommend_method(report: TrustReport) -> str:
    best, *others = report.trusted
    estimates = report.estimates[best]
    equal = [method for method in others if report.gains[best][method].mean.low <= 0]
    ties = f"; {', '.join(equal)} {'are' if len(equal) > 1 else 'is'} not significantly different" if equal else ""
    return (
        f"Use {best}: of {len(report.seconds)} methods it ranks the patches best (insertion - deletion "
        f"{format_estimate(estimates['faithfulness'])}; {_describe_gain(report, best)})"
        f"{_describe_pointing(report, best)}, and takes {report.seconds[best]:.3f} s an image{ties}"
    )


def _describe_pointing(report: TrustReport, method: str) -> str:
    """Describe the pointing of a method beside that of the best baseline, which may be better; empty without marks."""
    hits = {name: report.estimates[name]["hit_grid"].value for name in (method, *BASELINES)}
    if math.isnan(hits[method]):
        return ""
    baseline = max(BASELINES, key=lambda name: hits[name])
    return (
        f", points inside the marked defect in {hits[method]:.0%} of {report.pointed} photos "
        f"({baseline}: {hits[baseline]:.0%})"
    )


def _ask_for_photos(report: TrustReport) -> str:
    best = report.undecided[0]
    return (
        f"Too few photos to tell whether the {len(report.seconds)} methods rank the patches better than the baselines: "
        f"{best} comes first, {_describe_gain(report, best)}; measure on more than {report.photos}"
    )


def _describe_gain(report: TrustReport, method: str) -> str:
    """Describe the gain over the baseline hardest to beat."""
    baseline = min(BASELINES, key=lambda name: report.gains[method][name].mean.low)
    gain = report.gains[method][baseline]
    return f"over {baseline}, {format_estimate(gain.mean)}, better in {gain.better} of {report.photos} photos"
