"""Where the evidence of maps lies: outside the marked defects, at one place of the frame, on one repeated patch."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.intervals import Estimate
from pipeline.records import Floats, Pixels
from pipeline.trust.hot_patches import GreyPatches, cut_hot_patch
from pipeline.trust.pointing import DefectArea
from pipeline.trust.shortcuts import Suspect

_MUCH = 0.25  # of the evidence, outside the marks
_MOST_SAID = 3  # classes


@dataclass(frozen=True)
class Evidence:
    """What is kept of one map, to compare the photos of a class.

    Attributes:
        heat: (grid_h, grid_w), the map.
        hot_patch: the photo around its hottest cell, see `cut_hot_patch`.
        marked_share: share of the photo inside its marked defects, 0..1; NaN without marks.
    """

    heat: Floats
    hot_patch: GreyPatches
    marked_share: float


def keep_evidence(pixels: Pixels, heat: Floats, patch_size: int, defect_area: DefectArea | None) -> Evidence:
    """Keep what is needed of one map; arguments as of `cut_hot_patch` and `measure_on_grid`."""
    marked_share = math.nan if defect_area is None else float(defect_area.mean())
    return Evidence(heat, cut_hot_patch(pixels, heat, patch_size), marked_share)


@dataclass(frozen=True)
class ClassEvidence:
    """The evidence for one class outside the marked defects.

    Attributes:
        label: the class.
        photos: number of its photos with marks, classified correctly.
        outside: mean share of the evidence outside the marks, 0..1.
        marked_share: mean share of the photo inside them, 0..1.
    """

    label: str
    photos: int
    outside: Estimate
    marked_share: float

    def describe(self, method: str) -> str:
        """Say in a sentence how much lies outside, by the maps of a method."""
        return (
            f"{self.outside.value:.0%} of the evidence ({method}) for '{self.label}' lies outside the marked defects, "
            f"which cover {self.marked_share:.1%} of its {self.photos} photos"
        )


@dataclass(frozen=True)
class EvidenceReport:
    """The evidence for each class: outside its marks, or classes suspected of a shortcut where none are marked.

    Attributes:
        method: method of the maps.
        outside: by class, most evidence outside first; empty without marks.
        suspects: classes suspected of a shortcut.
        tested: number of classes tested for that.
    """

    method: str
    outside: Sequence[ClassEvidence] = ()
    suspects: Sequence[Suspect] = ()
    tested: int = 0

    @property
    def sentences(self) -> list[str]:
        """The findings in words, the worst first."""
        if self.outside:
            worst = [one for one in self.outside if one.outside.value >= _MUCH][:_MOST_SAID]
            return [one.describe(self.method) for one in worst or self.outside[:1]]
        if self.suspects:
            return [suspect.describe(self.method) for suspect in self.suspects]
        if self.tested:
            return [f"none of {self.tested} classes has its evidence at one place or on one repeated patch"]
        return ["shortcuts were not looked for: they take marked defects, or 8 photos of a class and 8 of others"]

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {
            "method": self.method,
            "outside_marks": {
                one.label: one.outside.as_json() | {"photos": one.photos, "marked_share": one.marked_share}
                for one in self.outside
            },
            "tested": self.tested,
            "suspects": [asdict(suspect) for suspect in self.suspects],
            "sentences": self.sentences,
        }
