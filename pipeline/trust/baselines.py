"""Maps without any knowledge of the model. A method no better than these explains nothing. Pure arrays."""

from typing import Literal, get_args

import numpy as np

from pipeline.records import Floats, Pixels

Baseline = Literal["random", "gaussian", "edges"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

_GAUSSIAN_WIDTH = 0.25  # standard deviation, as a share of the map's sides


def compute_baselines(
    pixels: Pixels, grid: tuple[int, int], patch_size: int, rng: np.random.Generator
) -> dict[Baseline, Floats]:
    """Compute the baseline maps of one photo.

    Args:
        pixels: (3, H, W).
        grid: (grid_h, grid_w).
        patch_size: pixels of the input along a side of a cell.
        rng: source of the random map.

    Returns:
        (grid_h, grid_w) each. `random`: noise. `gaussian`: a spot in the middle. `edges`: the mean gradient of the
        brightness in each patch.
    """
    grid_h, grid_w = grid
    y, x = (((np.arange(count) + 0.5) / count - 0.5) / _GAUSSIAN_WIDTH for count in grid)
    slope_y, slope_x = np.gradient(pixels.mean(axis=0, dtype=np.float32))  # (H, W) each
    slope = np.hypot(slope_y, slope_x)[: grid_h * patch_size, : grid_w * patch_size]
    return {
        "random": rng.random(grid, np.float32),
        "gaussian": np.exp(-(y[:, None] ** 2 + x**2) / 2).astype(np.float32),
        "edges": slope.reshape(grid_h, patch_size, grid_w, patch_size).mean(axis=(1, 3)),
    }
