"""Deletion and insertion: does the score follow the patches marked by a map? Pure arrays.

Samek et al., TNNLS 2017 (arXiv:1509.06321), sec. III-B, and Petsiuk et al., BMVC 2018 (arXiv:1806.07421), sec. 3.2,
with patches of the model as the unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pipeline.records import Doubles, Floats, Pixels

Fill = Literal["blur", "mean"]
Order = Literal["deletion", "insertion"]
FILLS: tuple[Fill, ...] = get_args(Fill)
ORDERS: tuple[Order, ...] = get_args(Order)

_BLUR = 0.1  # standard deviation, as a share of the input's shorter side: hides everything of the size of a defect

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """A score against the share of patches removed, or put back.

    Attributes:
        shares: (n,), from 0 to 1.
        scores: (n,), 0..1, of the target.
    """

    shares: Doubles
    scores: Doubles

    @property
    def area(self) -> float:
        """The mean score along the curve, 0..1, by trapezoids."""
        return float(np.trapezoid(self.scores, self.shares))


def remove_content(pixels: Pixels, fill: Fill) -> Pixels:
    """Make the picture shown in place of removed patches.

    Args:
        pixels: (3, H, W).
        fill: `blur`: the photo itself, out of focus. `mean`: its mean colour.

    Returns:
        (3, H, W).
    """
    if fill == "mean":
        mean = pixels.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
        return np.broadcast_to(mean, pixels.shape)
    radius = _BLUR * min(pixels.shape[1:])
    blurred = Image.fromarray(pixels.transpose(1, 2, 0)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred).transpose(2, 0, 1)


def rank_cells(attention: Floats, rng: np.random.Generator) -> Ranks:
    """Rank the cells of a map (grid_h, grid_w): 0 for the hottest; equal cells are ranked at random."""
    flat = attention.ravel()
    order = np.lexsort((rng.random(flat.size), -flat))
    ranks = np.empty(flat.size, np.int64)
    ranks[order] = np.arange(flat.size)
    return ranks.reshape(attention.shape)


def rank_pixels(cell_ranks: Ranks, patch_size: int, size: tuple[int, int]) -> Ranks:
    """Give each pixel of the input the rank of its cell; the last rank beyond the last whole patch.

    Args:
        cell_ranks: (grid_h, grid_w), from `rank_cells`.
        patch_size: pixels of the input along a side of a cell.
        size: (H, W).
    """
    ranks = np.full(size, cell_ranks.size)  # the model does not see a remainder beyond the last whole patch
    seen = cell_ranks.repeat(patch_size, axis=0).repeat(patch_size, axis=1)
    ranks[: seen.shape[0], : seen.shape[1]] = seen
    return ranks


def patch_counts(cells: int, steps: int) -> list[int]:
    """Return the numbers of patches removed or put back along a curve: 0, then growing by a constant factor to all.

    The first few patches decide, so the points are densest there.
    """
    return [0, *(round(cells ** (step / steps)) for step in range(1, steps + 1))]


def edit_photo(pixels: Pixels, empty: Pixels, pixel_ranks: Ranks, counts: Sequence[int], order: Order) -> Pixels:
    """Make the photo of each point of a curve.

    Args:
        pixels: (3, H, W).
        empty: (3, H, W), from `remove_content`.
        pixel_ranks: (H, W), from `rank_pixels`.
        counts: n numbers of patches to edit, the hottest first.
        order: `deletion` removes patches from the photo, `insertion` puts them back into `empty`.

    Returns:
        (n, 3, H, W).
    """
    inside, outside = (empty, pixels) if order == "deletion" else (pixels, empty)
    chosen = pixel_ranks < np.array(counts)[:, None, None]  # (n, H, W)
    return np.where(chosen[:, None], inside, outside)
