"""Numbers of maps: pure functions on arrays of any number of them, all maps of one grid.

`...` stands for any leading dimensions, as (n,) for the maps of a table and () for a single one.
"""

import math

import numpy as np
import numpy.typing as npt

from pipeline.records import Floats

Doubles = npt.NDArray[np.float64]

# What counts as hottest: a single patch that the backbone uses as a scratchpad would else outshine all others.
HOT_PERCENTILE = 98.0


def value_range(maps: Floats, percentile: float) -> tuple[Floats, Floats]:
    """What counts as coldest and as hottest in each map.

    Args:
        maps: (..., grid_h, grid_w), any range.
        percentile: of each map's cells, 0..100: the hottest. If it is the minimum as well, the maximum is.

    Returns:
        Two of (..., 1, 1); they are equal where a map is even.
    """
    low, high = maps.min(axis=(-2, -1), keepdims=True), maps.max(axis=(-2, -1), keepdims=True)
    hot = np.percentile(maps, percentile, axis=(-2, -1), keepdims=True)
    return low, np.where(hot > low, hot, high)


def scaled(maps: Floats, percentile: float) -> Floats:
    """Each map over its `value_range`, of the same arguments.

    Returns:
        (..., grid_h, grid_w), 0..1: clipped above, 0 where a map is even.
    """
    low, high = value_range(maps, percentile)
    span = high - low
    unit: Floats = np.clip((maps - low) / np.where(span > 0, span, 1), 0, 1).astype(np.float32)
    return unit


def cell_shares(maps: Floats) -> Floats:
    """What share of its map each cell has.

    Args:
        maps: (..., cells); negative values count as 0, and a map of nothing else as even.

    Returns:
        (..., cells), 0..1; each map sums to 1.
    """
    positive = np.maximum(maps, 0)
    totals = positive.sum(axis=-1, keepdims=True, dtype=np.float64)
    shares: Floats = np.where(totals > 0, positive / np.where(totals > 0, totals, 1), 1 / maps.shape[-1])
    return shares.astype(np.float32)


def entropy(maps: Floats) -> Doubles:
    """(..., cells) -> (...,): the entropy of each map's `cell_shares`, from 0, all in one cell, to log(cells), even."""
    shares = cell_shares(maps)
    surprise = -np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray((shares * surprise).sum(axis=-1, dtype=np.float64))


def concentration(maps: Floats) -> Doubles:
    """(..., cells) -> (...,): 1 - entropy / log(cells), from 0, all cells alike, to 1, all in one cell."""
    return 1 - entropy(maps) / math.log(max(2, maps.shape[-1]))


def centroid(maps: Floats) -> Doubles:
    """The centre of mass of each map.

    Args:
        maps: (..., grid_h, grid_w), weighed by `cell_shares`.

    Returns:
        (..., 2): x, y in cells from the upper left corner; the middle of the first cell is 0.5, 0.5.
    """
    grid_h, grid_w = maps.shape[-2:]
    shares = cell_shares(maps.reshape(*maps.shape[:-2], -1)).reshape(maps.shape)
    x = shares.sum(axis=-2, dtype=np.float64) @ (np.arange(grid_w) + 0.5)
    y = shares.sum(axis=-1, dtype=np.float64) @ (np.arange(grid_h) + 0.5)
    return np.stack([x, y], axis=-1)


def regions(is_hot: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Which cells belong together.

    Args:
        is_hot: (n, grid_h, grid_w).

    Returns:
        (n, grid_h, grid_w): the number of each hot cell's region, -1 elsewhere. Hot cells that touch, also by a corner,
        have the same number: that of the region's last cell.
    """
    _, grid_h, grid_w = is_hot.shape
    number = np.where(is_hot, np.arange(grid_h * grid_w, dtype=np.int32).reshape(grid_h, grid_w), -1)
    while True:
        spread = np.pad(number, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
        spread = np.maximum(np.maximum(spread[:, :-2], spread[:, 1:-1]), spread[:, 2:])
        spread = np.maximum(np.maximum(spread[..., :-2], spread[..., 1:-1]), spread[..., 2:])
        spread = np.where(is_hot, spread, -1)
        if (spread == number).all():
            return number
        number = spread
