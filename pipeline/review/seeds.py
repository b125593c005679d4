"""Boxes proposed from a map: where the model looked, as a start for the reviewer's own."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.maps.statistics import label_regions
from pipeline.records import Box, Floats
from pipeline.review.row_maps import RowMaps

SEED_METHOD = "libragrad"  # its maps fall to nothing beside a defect; those of rollout don't
THRESHOLD = 0.2  # of the map's maximum
LEAST_SHARE = 0.1  # of the map's sum over hot cells; regions with less are specks
MOST_BOXES = 5


@dataclass(frozen=True)
class SeedBox:
    """A proposed box, in upright pixels of the photo; score: its share of the heat in all boxes."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float


@dataclass(frozen=True)
class Seeds:
    """The proposed boxes of a photo.

    Attributes:
        boxes: the hottest first.
        method: of the map; None without one.
        warning: why they deserve little trust, or None.
    """

    boxes: tuple[SeedBox, ...]
    method: str | None
    warning: str | None

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {"boxes": [asdict(box) for box in self.boxes], "method": self.method, "warning": self.warning}


def propose_boxes(maps: RowMaps | None, size: tuple[int, int]) -> Seeds:
    """Propose boxes from the best of a photo's maps.

    Args:
        maps: of the photo, None without one.
        size: width and height of the photo.
    """
    if maps is None:
        return Seeds((), None, "this photo has no map; draw the boxes by hand")
    method = SEED_METHOD if SEED_METHOD in maps.maps else maps.method
    return Seeds(find_seeds(maps.maps[method], maps.box, size), method, warn_of_method(method))


def warn_of_method(method: str) -> str | None:
    """Return a warning for maps that don't fit defects closely, None for those of `SEED_METHOD`."""
    if method == SEED_METHOD:
        return None
    return f"boxes from {method} are rough; run with --method rollout,{SEED_METHOD} for better ones"


def find_seeds(heat: Floats, box: Box, size: tuple[int, int]) -> tuple[SeedBox, ...]:
    """Draw boxes around the hot regions of a map: merged where they touch, without specks, clipped to the photo.

    Args:
        heat: (grid_h, grid_w), raw; negative values speak against the label.
        box: the part of the photo under the map, in upright pixels.
        size: width and height of the photo.
    """
    heat = np.maximum(heat, 0)
    peak = float(heat.max())
    if peak <= 0 or float(heat.min()) == peak:
        return ()
    regions = label_regions((heat >= THRESHOLD * peak)[None])[0]  # (grid_h, grid_w)
    total = float(heat[regions > 0].sum())
    cells = [_cells_of(regions == number) for number in range(1, int(regions.max()) + 1)]
    found = []
    for left, top, right, bottom in _merge_touching(cells):
        inside = regions[top:bottom, left:right] > 0
        share = float(heat[top:bottom, left:right][inside].sum()) / total
        pixels = _to_pixels((left, top, right, bottom), heat.shape, box, size)
        if share >= LEAST_SHARE and pixels[0] < pixels[2] and pixels[1] < pixels[3]:
            found.append(SeedBox(*pixels, round(share, 4)))
    return tuple(sorted(found, key=lambda seed: -seed.score)[:MOST_BOXES])


def _cells_of(region: np.ndarray[Any, Any]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a region, the last two one beyond it."""
    y, x = np.nonzero(region)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def _merge_touching(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Merge boxes sharing an edge, a corner or cells, until none do."""
    boxes = list(boxes)
    merged: list[tuple[int, int, int, int]] = []
    while boxes:
        box = boxes.pop()
        touching = [other for other in boxes if _touch(box, other)]
        if touching:
            boxes = [other for other in boxes if other not in touching]
            lefts, tops, rights, bottoms = zip(box, *touching, strict=True)
            boxes.append((min(lefts), min(tops), max(rights), max(bottoms)))
        else:
            again = [other for other in merged if _touch(box, other)]
            merged = [other for other in merged if other not in again]
            if again:
                boxes.extend([box, *again])
            else:
                merged.append(box)
    return merged


def _touch(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return box[0] <= other[2] and other[0] <= box[2] and box[1] <= other[3] and other[1] <= box[3]


def _to_pixels(
    cells: tuple[int, int, int, int], grid: tuple[int, ...], box: Box, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    (x0, y0, x1, y1), (grid_h, grid_w), (width, height) = box, grid, size
    per_x, per_y = (x1 - x0) / grid_w, (y1 - y0) / grid_h
    left, right = (min(max(x0 + cells[index] * per_x, 0.0), float(width)) for index in (0, 2))
    top, bottom = (min(max(y0 + cells[index] * per_y, 0.0), float(height)) for index in (1, 3))
    return round(left, 1), round(top, 1), round(right, 1), round(bottom, 1)
