"""Pixels -> the coordinates vision-language models write: each model has its own grid and its own order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.export.dataset import ExportBox

FLORENCE2_BINS = 1000
PALIGEMMA_BINS = 1024
QWEN_UNITS = 1000

Bins = NDArray[np.int64]


def florence2_bins(boxes: Sequence[ExportBox], width: int, height: int) -> Bins:
    """Return x0, y0, x1, y1 in 0..999, rounded down as Florence-2's own quantiser does.

    That one computes in float32, so a pixel exactly between two bins may fall into the lower one. The same arithmetic
    here gives the same bins for every photo. The right and the lower edge, bin 1000, are clamped: `<loc_1000>` is not
    a token.

    Returns:
        shape (boxes, 4).
    """
    bin_sizes = np.array([width, height, width, height]) / FLORENCE2_BINS  # (4,)
    bins = np.floor(_corners(boxes).astype(np.float32) / bin_sizes.astype(np.float32))  # (boxes, 4)
    return np.clip(bins, 0, FLORENCE2_BINS - 1).astype(np.int64)


def paligemma_bins(boxes: Sequence[ExportBox], width: int, height: int) -> Bins:
    """Return y0, x0, y1, x1 in 0..1023, rounded down; y comes first.

    Returns:
        shape (boxes, 4).
    """
    bins = np.floor(_corners(boxes) * PALIGEMMA_BINS / np.array([width, height, width, height]))  # (boxes, 4)
    yxyx: Bins = np.clip(bins, 0, PALIGEMMA_BINS - 1).astype(np.int64)[:, [1, 0, 3, 2]]
    return yxyx


def qwen_units(boxes: Sequence[ExportBox], width: int, height: int) -> Bins:
    """Return x0, y0, x1, y1 in 0..1000, rounded to the nearest, relative to the photo as Qwen3-VL expects.

    Returns:
        shape (boxes, 4).
    """
    units = np.rint(_corners(boxes) * QWEN_UNITS / np.array([width, height, width, height]))  # (boxes, 4)
    clipped: Bins = np.clip(units, 0, QWEN_UNITS).astype(np.int64)
    return clipped


def _corners(boxes: Sequence[ExportBox]) -> NDArray[np.float64]:
    """Return the corners x0, y0, x1, y1, (boxes, 4)."""
    corners = [(box.x0, box.y0, box.x1, box.y1) for box in boxes]
    return np.array(corners, np.float64).reshape(-1, 4)
