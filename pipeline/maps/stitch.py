"""The maps of a photo's windows -> one map over the photo."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.records import Doubles, Floats, PixelBox

MOST_CELLS = 2**18  # of a stitched map: 1 MB a photo in the table


def stitch_maps(
    maps: Floats, boxes: Sequence[PixelBox], size: tuple[int, int], patches: tuple[float, float] | None = None
) -> Floats:
    """Blend the maps of overlapping windows into one, without seams.

    Each window counts most at its middle and nothing at its edges, by a squared sine (a Hann window), so that no value
    jumps where a window begins. Cells are as large as those of the windows' maps, larger ones for photos of more than
    `MOST_CELLS`.

    Args:
        maps: (T, grid_h, grid_w), raw, of windows of one size.
        boxes: T windows, (left, top, right, bottom), in pixels of the photo; together they cover it.
        size: width and height of the photo.
        patches: rows and columns of patches in a window, if the map covers only the whole ones of them.

    Returns:
        (canvas_h, canvas_w), over the whole photo; the map itself for a single window.
    """
    if len(maps) == 1:
        (alone,) = maps
        return np.asarray(alone)
    patches = patches or (maps.shape[1], maps.shape[2])
    canvas_h, canvas_w = _canvas_shape(patches, boxes[0], size)
    blended, weights = np.zeros((canvas_h, canvas_w)), np.zeros((canvas_h, canvas_w))
    spreads: dict[tuple[int, int, int], tuple[slice, Doubles, Doubles]] = {}  # windows share few columns and rows

    def spread(start: int, end: int, axis: int) -> tuple[slice, Doubles, Doubles]:
        if (start, end, axis) not in spreads:
            cells = (canvas_w, canvas_h)[axis]
            position, cells_here, weight = _place_cells(start, end, size[axis] / cells, cells)
            shares = _interpolate(position * patches[1 - axis], maps.shape[2 - axis])
            spreads[start, end, axis] = cells_here, shares, weight
        return spreads[start, end, axis]

    for values, (left, top, right, bottom) in zip(maps, boxes, strict=True):
        columns, across, weight_x = spread(left, right, 0)
        rows, down, weight_y = spread(top, bottom, 1)
        weight = np.outer(weight_y, weight_x)
        blended[rows, columns] += weight * (down @ values @ across.T)
        weights[rows, columns] += weight
    stitched: Floats = (blended / weights).astype(np.float32)
    return stitched


def _canvas_shape(patches: tuple[float, float], window: PixelBox, size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of a map over the photo, with cells of the windows' size."""
    left, top, right, bottom = window
    rows, columns = patches[0] * size[1] / (bottom - top), patches[1] * size[0] / (right - left)
    shrink = min(1.0, (MOST_CELLS / (rows * columns)) ** 0.5)
    return max(1, round(rows * shrink)), max(1, round(columns * shrink))


def _place_cells(start: int, end: int, cell: float, cells: int) -> tuple[Doubles, slice, Doubles]:
    """Find the cells of the photo with their middle in a window, along one side.

    Args:
        start, end: of the window, pixels.
        cell: pixels of a cell of the photo.
        cells: of the photo.

    Returns:
        Where the n cells lie in the window, 0 to 1; the cells; and their weights, (n,).
    """
    first, last = max(0, math.ceil(start / cell - 0.5)), min(cells, math.ceil(end / cell - 0.5))
    along = ((np.arange(first, last) + 0.5) * cell - start) / (end - start)
    return along, slice(first, last), np.sin(np.pi * along) ** 2 + 1e-6  # at the photo's edges no other window helps


def _interpolate(positions: Doubles, grid: int) -> Doubles:
    """Return the shares of a map's cells, (n, grid), in its values at n positions between 0 and `grid`; linear."""
    positions = np.clip(positions - 0.5, 0, grid - 1)
    shares: Doubles = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(grid)))
    return shares
