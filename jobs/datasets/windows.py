"""Windows of a scan: find the positions true to a label, and cut a window out, enlarged.

A window is 112 x 112 pixels of the scan, for some uses enlarged four times. `Positions` marks every allowed position
of its upper left corner. So a draw among them is uniform, and a defect without any position certainly can't be shown
alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

WINDOW = 112  # pixels of the scan
SCALE = 4
COPPER_SHARE = (0.05, 0.95)  # a patterned window shows copper and laminate, at least a twentieth of each
SPECK = 5  # pixels: smaller differences between a tested board and its template are noise of the scan
# The scans are black and white and only smoothed edges are grey: 16 levels show them, in a third of the file size.
SIXTEEN_LEVELS = [round(value / 17) * 17 for value in range(256)]

Positions = NDArray[np.bool_]  # (H - 111, W - 111) for a scan of H x W, at [y, x] of the window's upper left corner


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; x1 and y1 are the first column and row outside it."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class Window:
    """One enlarged window.

    Attributes:
        image: grey pixels.
        x: column of its left edge in the scan.
        y: row of its upper edge in the scan.
        scale: pixels of the image for each of the scan.
    """

    image: Image.Image
    x: int
    y: int
    scale: int = SCALE

    def locate(self, box: Box) -> Box:
        """Convert a box of the scan to pixels of the enlarged window."""
        inside = (box.x0 - self.x, box.y0 - self.y, box.x1 - self.x, box.y1 - self.y)
        return Box(*(self.scale * side for side in inside))


def find_clear_positions(boxes: Iterable[Box], size: tuple[int, int]) -> Positions:
    """Find the positions of windows touching none of the boxes; sharing an edge is touching.

    Args:
        boxes: in pixels of the scan.
        size: width and height of the scan.
    """
    width, height = size
    positions = np.ones((height - WINDOW + 1, width - WINDOW + 1), dtype=np.bool_)
    for box in boxes:
        positions[max(0, box.y0 - WINDOW) : box.y1 + 1, max(0, box.x0 - WINDOW) : box.x1 + 1] = False
    return positions


def find_isolating_positions(box: Box, other_boxes: Iterable[Box], size: tuple[int, int]) -> Positions:
    """Find the positions of windows with the whole of one box, touching none of the others.

    Args:
        box, other_boxes: in pixels of the scan.
        size: width and height of the scan.
    """
    positions = np.zeros((size[1] - WINDOW + 1, size[0] - WINDOW + 1), dtype=np.bool_)
    positions[max(0, box.y1 - WINDOW) : box.y0 + 1, max(0, box.x1 - WINDOW) : box.x0 + 1] = True
    return positions & find_clear_positions(other_boxes, size)


def find_patterned_positions(scan: Image.Image) -> Positions:
    """Find the positions of windows with a pattern: copper (black in these scans) and laminate."""
    copper = _share_inside(np.asarray(scan) < 128)
    patterned: Positions = (copper >= COPPER_SHARE[0]) & (copper <= COPPER_SHARE[1])
    return patterned


def find_agreeing_positions(tested: Image.Image, template: Image.Image) -> Positions:
    """Find the positions of windows alike in both scans, specks apart: some boards have defects without annotation."""
    differs = (np.asarray(tested) < 128) != (np.asarray(template) < 128)
    blobs = Image.fromarray(differs).convert("L").filter(ImageFilter.MinFilter(SPECK))
    agreeing: Positions = _share_inside(np.asarray(blobs) > 0) == 0
    return agreeing


def cut_window(scan: Image.Image, positions: Positions, rng: np.random.Generator, scale: int = SCALE) -> Window | None:
    """Cut out a window at a random position, enlarged by `scale`; None if none is allowed."""
    allowed = np.flatnonzero(positions)
    if not len(allowed):
        return None
    y, x = (int(value) for value in np.unravel_index(rng.choice(allowed), positions.shape))
    # Bicubic gives edges as smooth as a photo's; nearest pixels would leave stairs, Lanczos would ring around them.
    enlarged = scan.crop((x, y, x + WINDOW, y + WINDOW)).resize((WINDOW * scale,) * 2, Image.Resampling.BICUBIC)
    return Window(enlarged.point(SIXTEEN_LEVELS), x, y, scale)


def _share_inside(marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the share of marked pixels, 0..1, in the window at each position; (H, W) -> (H - 111, W - 111)."""
    sums = np.pad(marked.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32), ((1, 0), (1, 0)))  # summed-area table
    inside = sums[WINDOW:, WINDOW:] - sums[:-WINDOW, WINDOW:] - sums[WINDOW:, :-WINDOW] + sums[:-WINDOW, :-WINDOW]
    share: NDArray[np.float64] = inside / WINDOW**2
    return share
