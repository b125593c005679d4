"""Deletion and insertion: does the score follow the patches that a map marks? Pure arrays.

Samek et al., TNNLS 2017 (arXiv:1509.06321), sec. III-B, and Petsiuk et al., BMVC 2018 (arXiv:1806.07421), sec. 3.2,
with patches of the model as the unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pipeline.maps.statistics import Doubles
from pipeline.records import Floats, Pixels

Fill = Literal["blur", "mean"]
Order = Literal["deletion", "insertion"]
FILLS: tuple[Fill, ...] = get_args(Fill)
ORDERS: tuple[Order, ...] = get_args(Order)

_BLUR = 0.1  # standard deviation, of the input's shorter side: what is as large as a defect goes


@dataclass(frozen=True)
class Curve:
    """A score against the share of patches that are removed, or put back.

    Attributes:
        shares: (n,), from 0 to 1.
        scores: (n,), softmax probabilities.
    """

    shares: Doubles
    scores: Doubles

    @property
    def area(self) -> float:
        """The mean score along the curve, 0..1, by trapezoids."""
        return float(np.trapezoid(self.scores, self.shares))


def without_content(pixels: Pixels, fill: Fill) -> Pixels:
    """What removed patches are replaced with.

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


def ranks(attention: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(grid_h, grid_w) -> the same: 0 for the cell that counts most; cells alike are drawn."""
    flat = attention.ravel()
    order = np.lexsort((rng.random(flat.size), -flat))
    rank = np.empty(flat.size, np.int64)
    rank[order] = np.arange(flat.size)
    return rank.reshape(attention.shape)


def patch_counts(cells: int, steps: int) -> list[int]:
    """How many patches are removed or put back along a curve: none, then ever more by the same factor, up to all.

    The first few patches decide, and there the points lie close.
    """
    return [0, *(round(cells ** (step / steps)) for step in range(1, steps + 1))]


def partly_removed(
    pixels: Pixels,
    content_free: Pixels,
    rank: npt.NDArray[np.int64],
    counts: Sequence[int],
    patch_size: int,
    order: Order,
) -> Pixels:
    """A photo at every point of a curve.

    Args:
        pixels: (3, H, W).
        content_free: the same without what is in it.
        rank: (grid_h, grid_w), as `ranks` gives them.
        counts: how many patches are removed (`deletion`) or there (`insertion`), n of them.
        patch_size: pixels along a side.
        order: the patches that count most are the first to go, or to come back.

    Returns:
        (n, 3, H, W).
    """
    first, second = (content_free, pixels) if order == "deletion" else (pixels, content_free)
    height, width = pixels.shape[1:]
    by_pixel = np.full((height, width), rank.size)  # what lies beyond the last whole patch is not seen
    seen = rank.repeat(patch_size, axis=0).repeat(patch_size, axis=1)
    by_pixel[: seen.shape[0], : seen.shape[1]] = seen
    chosen = by_pixel < np.array(counts)[:, None, None]  # (n, H, W)
    return np.where(chosen[:, None], first, second)
