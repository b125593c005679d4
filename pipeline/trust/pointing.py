"""Does a map point at the defect? A map and the area of the defect -> numbers. Pure arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.metrics import average_precision_score

from pipeline.maps.geometry import cells_under, visible_part
from pipeline.maps.statistics import cell_shares
from pipeline.records import Box, Doubles, Floats

DefectArea = npt.NDArray[np.bool_]

_HALF = 0.5  # of a cell inside the defect: the cell counts as defect


@dataclass(frozen=True)
class Pointing:
    """Quality of a map as a pointer to the defect, at one resolution.

    Attributes:
        hit: 1 for a hottest place inside the defect, else 0 (the pointing game, Zhang et al., IJCV 2018, sec. 4.1,
            without its tolerance); for several equally hot places, the share of them inside.
        mass: share of the map inside the defect, 0..1.
        average_precision: of the values as a detector of the defect's cells or pixels, 0..1.
    """

    hit: float
    mass: float
    average_precision: float


def measure_on_grid(attention: Floats, box: Box, defect_area: DefectArea) -> Pointing | None:
    """Measure pointing at the map's own resolution.

    A cell counts as defect if at least half of it is inside. Without any such cell, those with the largest share count.

    Args:
        attention: (grid_h, grid_w).
        box: (x0, y0, x1, y1), the part of the photo under the map, in pixels of `defect_area`.
        defect_area: (h, w), true inside the defects.

    Returns:
        None if the map covers nothing of the defect, or nothing else.
    """
    coverage = _defect_share_of_cells(attention.shape, box, defect_area)
    largest = float(coverage.max())
    if largest == 0:
        return None
    return _measure_pointing(attention, coverage >= min(_HALF, largest), coverage)


def measure_on_photo(attention: Floats, box: Box, defect_area: DefectArea) -> Pointing | None:
    """Measure pointing at the photo's resolution, the map enlarged as for an overlay; see `measure_on_grid`."""
    left, top, right, bottom = visible = visible_part(box, (defect_area.shape[1], defect_area.shape[0]))
    is_defect = defect_area[top:bottom, left:right]
    if not is_defect.any():
        return None
    size = (right - left, bottom - top)
    cells = cells_under(visible, box, attention.shape)
    enlarged = Image.fromarray(attention.astype(np.float32)).resize(size, Image.Resampling.BICUBIC, box=cells)
    return _measure_pointing(np.asarray(enlarged), is_defect, is_defect.astype(np.float64))


def _measure_pointing(values: Floats, is_defect: DefectArea, defect_share: Doubles) -> Pointing | None:
    """Measure pointing of values, all arguments of the same shape; None if everything is defect."""
    if is_defect.all():
        return None
    return Pointing(
        hit=float(is_defect[values == values.max()].mean()),
        mass=float((cell_shares(values.ravel()) * defect_share.ravel()).sum(dtype=np.float64)),
        average_precision=float(average_precision_score(is_defect.ravel(), values.ravel())),
    )


def _defect_share_of_cells(grid: tuple[int, ...], box: Box, defect_area: DefectArea) -> Doubles:
    """Compute the share of each cell's pixels inside the defect, (grid_h, grid_w)."""
    (grid_h, grid_w), (height, width) = grid, defect_area.shape
    x0, y0, x1, y1 = box
    columns = np.floor((np.arange(width) + 0.5 - x0) / (x1 - x0) * grid_w).astype(int)  # (w,), cell of each pixel
    rows = np.floor((np.arange(height) + 0.5 - y0) / (y1 - y0) * grid_h).astype(int)  # (h,)
    covered_x, covered_y = (columns >= 0) & (columns < grid_w), (rows >= 0) & (rows < grid_h)
    cells = (rows[covered_y, None] * grid_w + columns[covered_x]).ravel()
    is_defect = defect_area[np.ix_(covered_y, covered_x)].ravel()
    pixels = np.bincount(cells, minlength=grid_h * grid_w)
    return (np.bincount(cells, is_defect, minlength=grid_h * grid_w) / np.maximum(pixels, 1)).reshape(grid_h, grid_w)
