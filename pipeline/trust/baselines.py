"""Maps that know nothing of the model: a method that is no better than these explains nothing. Pure arrays."""

from typing import Literal, get_args

import numpy as np

from pipeline.records import Floats, Pixels

Baseline = Literal["random", "gaussian", "edges"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

_SPREAD = 0.25  # standard deviation, of the map's sides


def baseline_maps(
    pixels: Pixels, grid: tuple[int, int], patch_size: int, rng: np.random.Generator
) -> dict[Baseline, Floats]:
    """Maps of one photo.

    Args:
        pixels: (3, H, W).
        grid: (grid_h, grid_w).
        patch_size: pixels of the input along a side of a cell.
        rng: for the random one.

    Returns:
        (grid_h, grid_w) each: `random` noise, a `gaussian` in the middle, and the mean gradient of the brightness in
        each patch, `edges`.
    """
    grid_h, grid_w = grid
    y, x = (((np.arange(count) + 0.5) / count - 0.5) / _SPREAD for count in grid)
    slope_y, slope_x = np.gradient(pixels.mean(axis=0, dtype=np.float32))
    slope = np.hypot(slope_y, slope_x)[: grid_h * patch_size, : grid_w * patch_size]
    return {
        "random": rng.random(grid, np.float32),
        "gaussian": np.exp(-(y[:, None] ** 2 + x**2) / 2).astype(np.float32),
        "edges": slope.reshape(grid_h, patch_size, grid_w, patch_size).mean(axis=(1, 3)),
    }
