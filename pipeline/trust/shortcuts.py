"""Suspected shortcuts: classes recognised by something beside the thing itself. Pure arrays.

A model tells a class by the place of a stamp or by an embossed number if its training photos did. Without marked
defects, two things give that away: evidence at one fixed place of the frame, and the same patch in photo after photo.
Both are compared with the photos of the other classes by shuffling the labels. Where classes differ by chance alone, a
measurement names one of them with a probability of 1% at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.maps.statistics import cell_shares
from pipeline.records import Doubles, Floats
from pipeline.trust.hot_patches import GreyPatches, find_alike

_FALSE_ALARMS = 0.01  # of a measurement
_FEWEST_PHOTOS = 8  # of a class, and of all others together
_MOST_COMPARED = 1000  # photos: each patch is compared with every other
_PLACE_SIDE = 0.25  # of the frame's sides
_LEAST_EVIDENCE = 0.3  # at the place: with less, the class is recognised by other things
_LEAST_ALIKE = 0.5  # of the photos
_RIVALS = 0.5  # of the class's own share: with more, the others have the same thing
_MOST_SHUFFLES = 20_000
_AT_ONCE = 250  # shuffles

Labels = npt.NDArray[np.str_]
Chosen = npt.NDArray[np.bool_]
Kind = Literal["place", "patch"]


@dataclass(frozen=True)
class Suspect:
    """A class with evidence at one fixed place of the frame, or on one repeated patch.

    Attributes:
        label: the class.
        kind: `place` or `patch`.
        photos: number of its photos.
        share: of its evidence, at the place; or of its photos, with the same hottest patch. 0..1.
        others: the same share for the other classes; for a patch, that of random patches if larger.
        chance: probability of such a suspect with shuffled labels, in one of the classes.
        row, column: centre of the place, as shares of the frame's height and width; None for a patch.
    """

    label: str
    kind: Kind
    photos: int
    share: float
    others: float
    chance: float
    row: float | None = None
    column: float | None = None

    def describe(self, method: str) -> str:
        """Say in a sentence why the class is suspected, by the maps of a method."""
        if self.row is None or self.column is None:
            return (
                f"'{self.label}' is suspected: the hottest patch ({method}) shows the same thing in {self.share:.0%} "
                f"of its {self.photos} photos, and in {self.others:.0%} of the others"
            )
        return (
            f"'{self.label}' is suspected: {self.share:.0%} of the evidence ({method}) for its {self.photos} photos "
            f"lies at one place of the frame, {self.column:.0%} from the left and {self.row:.0%} from the top, and "
            f"{self.others:.0%} of the evidence for the others"
        )


def find_fixed_places(maps: Floats, labels: Labels, seed: int) -> list[Suspect]:
    """Find the classes with evidence at one place of the frame, in contrast to the other classes.

    The statistic is the largest difference of mean evidence between a class and the others over all places: squares
    with a quarter of the frame's sides.

    Args:
        maps: (n, grid_h, grid_w), of n photos.
        labels: (n,), the classes explained by the maps.
        seed: of the shuffles.
    """
    grid_h, grid_w = maps.shape[1:]
    height, width = (max(1, round(_PLACE_SIDE * side)) for side in (grid_h, grid_w))
    places = _sum_over_places(maps, (height, width))  # (n, rows, columns)
    flat = places.reshape(len(maps), -1)
    classes, suspects = _classes_with_photos(labels), []

    def largest_difference(own: Doubles) -> Doubles:
        count = own.sum(axis=1, keepdims=True)
        sums = own @ flat  # (shuffles, places)
        difference = sums / count - (flat.sum(axis=0) - sums) / (len(flat) - count)
        largest: Doubles = difference.max(axis=1)
        return largest

    for label in classes:
        is_own = labels == label
        own, others = flat[is_own].mean(axis=0), flat[~is_own].mean(axis=0)
        place = int((own - others).argmax())
        if own[place] < _LEAST_EVIDENCE or others[place] > _RIVALS * own[place]:
            continue
        chance = _shuffle_labels(largest_difference, is_own, len(classes), seed)
        if chance <= _FALSE_ALARMS / 2:  # shared with the test of patches
            row, column = np.unravel_index(place, places.shape[1:])
            centre = (float((row + height / 2) / grid_h), float((column + width / 2) / grid_w))
            shares = (float(own[place]), float(others[place]))
            suspects.append(Suspect(label, "place", int(is_own.sum()), *shares, chance, *centre))
    return suspects


def find_repeated_patches(
    patches: GreyPatches, random_patches: GreyPatches, labels: Labels, seed: int
) -> list[Suspect]:
    """Find the classes with the same hottest patch in most photos, in contrast to the other classes.

    The statistic is the largest share of a class's photos alike to one of them.

    Args:
        patches: (n, side, side), around the hottest cell of each photo's map, see `cut_hot_patch`.
        random_patches: (n, side, side), from random places of the same photos: surfaces are alike everywhere.
        labels: (n,), the classes explained by the maps.
        seed: of the shuffles.
    """
    labels = labels[:_MOST_COMPARED]
    alike = find_alike(patches[:_MOST_COMPARED]).astype(np.float64)  # (n, n)
    classes, suspects = _classes_with_photos(labels), []

    def most_alike(own: Doubles) -> Doubles:
        most: Doubles = ((own @ alike) * own).max(axis=1)
        return most

    for label in classes:
        is_own = labels == label
        of_class = np.flatnonzero(is_own)
        counts = alike[np.ix_(is_own, is_own)].sum(axis=1)
        first, share = of_class[counts.argmax()], (1 + counts.max()) / len(of_class)
        if share < _LEAST_ALIKE:
            continue
        at_random = find_alike(random_patches[of_class]).sum(axis=1)
        others = max(float(alike[first, ~is_own].mean()), float((1 + at_random.max()) / len(of_class)))
        if others > _RIVALS * share:
            continue
        chance = _shuffle_labels(most_alike, is_own, len(classes), seed)
        if chance <= _FALSE_ALARMS / 2:
            suspects.append(Suspect(label, "patch", len(of_class), float(share), others, chance))
    return suspects


def _sum_over_places(maps: Floats, size: tuple[int, int]) -> Doubles:
    """Sum the evidence inside each square of cells: (n, grid_h - height + 1, grid_w - width + 1), 0..1."""
    shares = cell_shares(maps.reshape(len(maps), -1)).reshape(maps.shape).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(shares, size, axis=(1, 2))
    sums: Doubles = windows.sum(axis=(-2, -1))
    return sums


def count_testable_classes(labels: Labels) -> int:
    """Count the classes with enough photos for the tests."""
    return len(_classes_with_photos(labels))


def _classes_with_photos(labels: Labels) -> list[str]:
    """List the classes with enough photos, and enough of other classes beside them."""
    names, counts = np.unique(labels, return_counts=True)
    return [
        str(name)
        for name, count in zip(names, counts.tolist(), strict=True)
        if count >= _FEWEST_PHOTOS and len(labels) - count >= _FEWEST_PHOTOS
    ]


def _shuffle_labels(measure: Callable[[Doubles], Doubles], is_own: Chosen, classes: int, seed: int) -> float:
    """Return the chance that shuffled labels reach the measured value in any of the classes (Bonferroni), at most 1.

    Args:
        measure: masks of photos (shuffles, n), 1 or 0 -> the statistic, (shuffles,).
        is_own: (n,), the photos of the class.
        classes: number of classes tested.
        seed: of the shuffles.
    """
    measured = float(measure(is_own[None].astype(np.float64))[0])
    shuffles = min(_MOST_SHUFFLES, round(4 * classes / _FALSE_ALARMS))
    rng, reached, done = np.random.default_rng(seed), 0, 0
    while done < shuffles:
        masks = rng.permuted(np.tile(is_own, (min(_AT_ONCE, shuffles - done), 1)), axis=1)
        reached += int((measure(masks.astype(np.float64)) >= measured - 1e-12).sum())
        done += len(masks)
    return min(1.0, classes * (1 + reached) / (1 + shuffles))
