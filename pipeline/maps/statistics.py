"""Statistics of maps: pure functions on arrays of any number of maps with the same grid.

`...` stands for any leading dimensions: (n,) for the maps of a table, () for a single map.
"""

import math

import numpy as np
import numpy.typing as npt

from pipeline.records import Doubles, Floats

# Taken as the hottest value of a map: a single patch used by the backbone as a scratchpad would outshine all others.
HOT_PERCENTILE = 98.0


def value_range(maps: Floats, percentile: float) -> tuple[Floats, Floats]:
    """Return the coldest and the hottest value of each map.

    Args:
        maps: (..., grid_h, grid_w), any range.
        percentile: 0..100, of each map's cells, taken as the hottest value; replaced by the maximum in maps whose
            percentile equals their minimum.

    Returns:
        Two arrays of shape (..., 1, 1), equal only for uniform maps.
    """
    low, high = maps.min(axis=(-2, -1), keepdims=True), maps.max(axis=(-2, -1), keepdims=True)
    hot = np.percentile(maps, percentile, axis=(-2, -1), keepdims=True)
    return low, np.where(hot > low, hot, high)


def scale_to_unit(maps: Floats, percentile: float) -> Floats:
    """Scale each map by its `value_range`, called with the same arguments.

    Returns:
        (..., grid_h, grid_w), 0..1: clipped above, 0 for uniform maps.
    """
    low, high = value_range(maps, percentile)
    span = high - low
    unit: Floats = np.clip((maps - low) / np.where(span > 0, span, 1), 0, 1).astype(np.float32)
    return unit


def cell_shares(maps: Floats) -> Floats:
    """Divide each map by its sum.

    Args:
        maps: (..., cells); negative values count as 0, and a map without positive values counts as uniform.

    Returns:
        (..., cells), 0..1; each map sums to 1.
    """
    positive = np.maximum(maps, 0)
    totals = positive.sum(axis=-1, keepdims=True, dtype=np.float64)
    shares: Floats = np.where(totals > 0, positive / np.where(totals > 0, totals, 1), 1 / maps.shape[-1])
    return shares.astype(np.float32)


def entropy(maps: Floats) -> Doubles:
    """Return the entropy of each map's `cell_shares`: from 0, all in one cell, to log(cells), uniform.

    NumPy instead of `scipy.stats.entropy`: ten times as fast on a single map, as in the rows of a run.

    Args:
        maps: (..., cells).

    Returns:
        (...,), in nats.
    """
    shares = cell_shares(maps)
    surprise = -np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray((shares * surprise).sum(axis=-1, dtype=np.float64))


def concentration(maps: Floats) -> Doubles:
    """Return 1 - entropy / log(cells) of each map: from 0, uniform, to 1, all in one cell; (..., cells) -> (...,)."""
    return 1 - entropy(maps) / math.log(max(2, maps.shape[-1]))


def centroid(maps: Floats) -> Doubles:
    """Return the centre of mass of each map.

    NumPy instead of `scipy.ndimage.center_of_mass`: six times as fast on a table of maps.

    Args:
        maps: (..., grid_h, grid_w), weighted by `cell_shares`.

    Returns:
        (..., 2): x, y in cells from the upper left corner; the middle of the first cell is 0.5, 0.5.
    """
    grid_h, grid_w = maps.shape[-2:]
    shares = cell_shares(maps.reshape(*maps.shape[:-2], -1)).reshape(maps.shape)
    x = shares.sum(axis=-2, dtype=np.float64) @ (np.arange(grid_w) + 0.5)
    y = shares.sum(axis=-1, dtype=np.float64) @ (np.arange(grid_h) + 0.5)
    return np.stack([x, y], axis=-1)


def label_regions(is_hot: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Number the regions of hot cells; cells that touch, even at a corner, are one region.

    Args:
        is_hot: (n, grid_h, grid_w).

    Returns:
        (n, grid_h, grid_w): the number of each hot cell's region, counted from 1 over all maps; 0 for other cells.
    """
    from scipy import ndimage  # 0.2 s to import

    touching = np.zeros((3, 3, 3), bool)
    touching[1] = True  # the neighbours in the same map, none in the maps before and after
    numbers: npt.NDArray[np.int32]
    numbers, _ = ndimage.label(is_hot, touching)
    return numbers
