"""What a measurement of trust found, summed up, and the files that say so."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import atomic_write_path
from pipeline.intervals import Estimate, bootstrap
from pipeline.maps.methods import BACKWARD
from pipeline.markdown import markdown_table
from pipeline.trust.baselines import BASELINES
from pipeline.trust.config import TrustConfig
from pipeline.trust.deletion import FILLS, Curve
from pipeline.trust.pointing import Pointing

# rank correlations up to which a map counts as another one
_SHUFFLED_AT_MOST = 0.5
_OTHER_LABEL_AT_MOST = 0.95

_REMOVAL_COLUMNS = {
    "deletion_blur": "deletion, blur",
    "deletion_mean": "deletion, mean colour",
    "insertion_blur": "insertion, blur",
    "insertion_mean": "insertion, mean colour",
    "faithfulness": "insertion - deletion",
}
_OTHER_COLUMNS = {
    "hit_grid": "pointing game, cells",
    "hit_photo": "pixels",
    "mass_grid": "mass inside, cells",
    "mass_photo": "pixels",
    "average_precision_grid": "average precision, cells",
    "average_precision_photo": "pixels",
    "shuffled_weights": "likeness: shuffled weights",
    "other_label": "other label",
}


@dataclass(frozen=True)
class MeasuredMap:
    """One map of one photo, measured.

    Attributes:
        path, label: the photo, and its true class where that is known.
        target, score: the label that is explained, the most likely one, and its softmax probability.
        method: a method's name or a baseline's.
        curves: by `deletion_blur`, `deletion_mean`, `insertion_blur`, `insertion_mean`.
        on_grid, on_photo: at the map's resolution and at the photo's; None: it is not known where the defect is.
        other_label, shuffled_weights: rank correlation with the map of the second label, and with that of the model
            without what it learnt; NaN: does not apply.
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

    def numbers(self) -> dict[str, float]:
        """All that is averaged, NaN where it does not apply: the map of a wrong label need not point at the defect."""
        areas = {name: curve.area for name, curve in self.curves.items()}
        gain = np.mean([areas[f"insertion_{fill}"] - areas[f"deletion_{fill}"] for fill in FILLS])
        is_right = self.label in (None, self.target)
        pointing = {
            f"{name}_{where}": math.nan if found is None or not is_right else value
            for where, found in (("grid", self.on_grid), ("photo", self.on_photo))
            for name, value in asdict(found or Pointing(math.nan, math.nan, math.nan)).items()
        }
        likenesses = {"shuffled_weights": self.shuffled_weights, "other_label": self.other_label}
        return areas | {"faithfulness": float(gain)} | pointing | likenesses


@dataclass(frozen=True)
class TrustReport:
    """What was found.

    Attributes:
        maps: every map of every photo.
        estimates: by method, methods first and then baselines; by the names of `MeasuredMap.numbers`.
        seconds: median seconds an image, classification included, by method.
        photos, failed: how many were measured, and how many could not be.
        pointed: how many of them the pointing was measured on.
    """

    maps: Sequence[MeasuredMap]
    estimates: dict[str, dict[str, Estimate]]
    seconds: dict[str, float]
    photos: int
    failed: int
    pointed: int

    @property
    def baseline(self) -> str:
        """The baseline that orders patches best."""
        return max(BASELINES, key=self._gain)

    @property
    def failed_sanity_checks(self) -> dict[str, str]:
        """The methods whose maps don't depend on what they claim to explain, and on what."""
        found = {}
        for method in self.seconds:
            if self.estimates[method]["shuffled_weights"].value > _SHUFFLED_AT_MOST:
                found[method] = "what the model has learnt"
            elif method in BACKWARD and self.estimates[method]["other_label"].value > _OTHER_LABEL_AT_MOST:
                found[method] = "the label"
        return found

    @property
    def trusted(self) -> list[str]:
        """The methods that beat every baseline, intervals apart, and pass the sanity checks, best first."""
        bar = max(self.estimates[baseline]["faithfulness"].high for baseline in BASELINES)
        found = [method for method in self.seconds if self.estimates[method]["faithfulness"].low > bar]
        return sorted(
            (method for method in found if method not in self.failed_sanity_checks), key=self._gain, reverse=True
        )

    @property
    def sentence(self) -> str:
        """Which method to use for this model."""
        baseline, failed_sanity_checks = self.baseline, self.failed_sanity_checks
        warning = "".join(f" {method} does not depend on {what}." for method, what in failed_sanity_checks.items())
        if not self.trusted:
            return (
                f"None of the {len(self.seconds)} methods says better than the baselines which patches count "
                f"({baseline}: {_text(self.estimates[baseline]['faithfulness'])}): "
                f"don't trust maps of this model.{warning}"
            )
        best, *others = self.trusted
        top = self.estimates[best]["faithfulness"]
        equal = [method for method in others if self.estimates[method]["faithfulness"].high >= top.low]
        ties = f"; {', '.join(equal)} can't be told from it" if equal else ""
        hit = self.estimates[best]["hit_grid"].value
        pointing = "" if math.isnan(hit) else f", points inside the marked defect in {hit:.0%} of {self.pointed} photos"
        return (
            f"Use {best}: of {len(self.seconds)} methods it says best which patches count (insertion - deletion "
            f"{_text(top)}; the best baseline, {baseline}: {_text(self.estimates[baseline]['faithfulness'])})"
            f"{pointing}, and takes {self.seconds[best]:.3f} s an image{ties}.{warning}"
        )

    def _gain(self, method: str) -> float:
        return self.estimates[method]["faithfulness"].value

    def tables(self) -> str:
        """All numbers in Markdown, a row a method, with 95% intervals."""
        seconds = {method: f"{seconds:.3f}" for method, seconds in self.seconds.items()}
        removal = self._table(_REMOVAL_COLUMNS, {"s an image": seconds})
        return f"{removal}\n\n{self._table(_OTHER_COLUMNS, {})}"

    def _table(self, columns: dict[str, str], more: dict[str, dict[str, str]]) -> str:
        shown = [name for name in columns if any(not math.isnan(of[name].value) for of in self.estimates.values())]
        rows = [
            [method, *(_text(of[name]) for name in shown), *(column.get(method, "") for column in more.values())]
            for method, of in self.estimates.items()
        ]
        return markdown_table(["method", *(columns[name] for name in shown), *more], rows)


def sum_up(maps: Sequence[MeasuredMap], seconds: dict[str, float], config: TrustConfig, *, failed: int) -> TrustReport:
    """Means over the photos, with intervals from resampling photos; args as `TrustReport` has them."""
    methods: list[str] = [*config.methods, *BASELINES]
    numbers = {method: [one.numbers() for one in maps if one.method == method] for method in methods}
    names = list(numbers[methods[0]][0])
    values = np.array(
        [[list(one.values()) for one in numbers[method]] for method in methods]
    )  # (methods, photos, names)

    def means(places: Any) -> dict[str, float]:
        chosen = values[:, places]
        there = ~np.isnan(chosen)
        counts = there.sum(axis=1)
        sums = np.where(there, chosen, 0).sum(axis=1)
        found = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)  # (methods, names)
        return {f"{row} {column}": float(found[row, column]) for row, column in np.ndindex(found.shape)}

    found = bootstrap(means, values.shape[1], resamples=config.resamples, seed=config.seed)
    estimates = {
        method: {name: found[f"{row} {column}"] for column, name in enumerate(names)}
        for row, method in enumerate(methods)
    }
    pointed = int((~np.isnan(values[0, :, names.index("hit_grid")])).sum())
    return TrustReport(maps, estimates, seconds, photos=values.shape[1], failed=failed, pointed=pointed)


def write_results(trust: TrustReport, settings: dict[str, Any], out: Path) -> None:
    """Write trust.json, trust.md, trust.parquet and trust.png into a folder that is there.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    from pipeline.trust.figure import draw_figure

    report = {
        "sentence": trust.sentence,
        "photos": trust.photos,
        "failed": trust.failed,
        "pointed": trust.pointed,
        "trusted": trust.trusted,
        "not_sane": trust.failed_sanity_checks,
        "methods": {
            method: {name: estimate.as_json() for name, estimate in of.items()}
            | {"seconds_per_image": trust.seconds.get(method)}
            for method, of in trust.estimates.items()
        },
        "settings": settings,
    }
    measured = f"Measured on {trust.photos} photos with the model {settings['model']}; 95% bootstrap intervals."
    markdown = f"{trust.sentence}\n\n{measured}\n\n{trust.tables()}\n"
    files: dict[str, Callable[[Path], object]] = {
        "trust.json": lambda file: file.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8"),
        "trust.md": lambda file: file.write_text(markdown, encoding="utf-8"),
        "trust.parquet": lambda file: pq.write_table(_rows(trust.maps), file, compression="zstd"),
        "trust.png": lambda file: draw_figure(trust, file),
    }
    for name, write in files.items():
        with atomic_write_path(out / name, out) as temporary:
            write(temporary)


def _rows(maps: Sequence[MeasuredMap]) -> pa.Table:
    """One row a map: what is averaged, and the curves."""
    rows = [
        {"path": one.path, "label": one.label, "target": one.target, "score": one.score, "method": one.method}
        | {name: None if math.isnan(value) else value for name, value in one.numbers().items()}
        | {f"{name}_curve": curve.scores for name, curve in one.curves.items()}
        | {"curve_shares": next(iter(one.curves.values())).shares}
        for one in maps
    ]
    words = [(name, pa.string()) for name in ("path", "label", "target", "method")]
    numbers = [(name, pa.float64()) for name in ("score", *maps[0].numbers())]
    curves = [
        (name, pa.list_(pa.float64())) for name in (*(f"{name}_curve" for name in maps[0].curves), "curve_shares")
    ]
    return pa.Table.from_pylist(rows, pa.schema([*words, *numbers, *curves]))


def _text(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
