"""Does a map point at the defect? A map and where the defect is -> numbers. Pure arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.metrics import average_precision_score

from pipeline.maps.statistics import cell_shares
from pipeline.model.input_geometry import cells_under, visible_part
from pipeline.records import Box, Floats

_HALF = 0.5  # of a cell in the defect: the cell counts as such


@dataclass(frozen=True)
class Pointing:
    """How well a map points, at one resolution.

    Attributes:
        hit: the hottest place is in the defect, 0 or 1 (the pointing game, Zhang et al., IJCV 2018, sec. 4.1, without
            its tolerance); of several as hot, the share of them.
        mass: the share of the map that is in it, 0..1.
        average_precision: of the values as a detector of the defect's cells or pixels, 0..1.
    """

    hit: float
    mass: float
    average_precision: float


def point_on_grid(attention: Floats, box: Box, outline: npt.NDArray[np.bool_]) -> Pointing | None:
    """At the map's own resolution. A cell is in the defect by half or more; if none is, those that are most so.

    Args:
        attention: (grid_h, grid_w).
        box: (x0, y0, x1, y1) that the map covers, in pixels of the outline.
        outline: (h, w), where the defect is.

    Returns:
        None: the map covers none of the defect, or nothing else.
    """
    coverage = _coverage(attention.shape, box, outline)
    most = float(coverage.max())
    if most == 0:
        return None
    return _compare(attention, coverage >= min(_HALF, most), coverage)


def point_on_photo(attention: Floats, box: Box, outline: npt.NDArray[np.bool_]) -> Pointing | None:
    """At the photo's resolution, the map enlarged as an overlay shows it; args as of `point_on_grid`."""
    left, top, right, bottom = visible = visible_part(box, (outline.shape[1], outline.shape[0]))
    inside = outline[top:bottom, left:right]
    if not inside.any():
        return None
    size = (right - left, bottom - top)
    cells = cells_under(visible, box, attention.shape)
    enlarged = Image.fromarray(attention.astype(np.float32)).resize(size, Image.Resampling.BICUBIC, box=cells)
    return _compare(np.asarray(enlarged), inside, inside.astype(np.float64))


def _compare(values: Floats, inside: npt.NDArray[np.bool_], share_inside: npt.NDArray[np.float64]) -> Pointing | None:
    if inside.all():
        return None
    return Pointing(
        hit=float(inside[values == values.max()].mean()),
        mass=float((cell_shares(values.ravel()) * share_inside.ravel()).sum(dtype=np.float64)),
        average_precision=float(average_precision_score(inside.ravel(), values.ravel())),
    )


def _coverage(grid: tuple[int, ...], box: Box, outline: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """What share of each cell's pixels is in the defect, (grid_h, grid_w)."""
    (grid_h, grid_w), (height, width) = grid, outline.shape
    x0, y0, x1, y1 = box
    columns = np.floor((np.arange(width) + 0.5 - x0) / (x1 - x0) * grid_w).astype(int)
    rows = np.floor((np.arange(height) + 0.5 - y0) / (y1 - y0) * grid_h).astype(int)
    seen_x, seen_y = (columns >= 0) & (columns < grid_w), (rows >= 0) & (rows < grid_h)
    cells = (rows[seen_y, None] * grid_w + columns[seen_x]).ravel()
    inside = outline[np.ix_(seen_y, seen_x)].ravel()
    pixels = np.bincount(cells, minlength=grid_h * grid_w)
    return (np.bincount(cells, inside, minlength=grid_h * grid_w) / np.maximum(pixels, 1)).reshape(grid_h, grid_w)
