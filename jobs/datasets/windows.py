"""Windows of a scan: where one may lie so that it shows what its label says, and cutting it out enlarged.

A window is 112 x 112 pixels of the scan, written four times as large. `Places` says for every position of its
upper left corner whether it may lie there, so that a draw among them is uniform and a defect that can't be
shown alone is known for certain.
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

Places = NDArray[np.bool_]  # (H - 111, W - 111) for a scan of H x W, at [y, x] of the window's upper left corner


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
        image: 448 x 448 grey pixels.
        x: column of its left edge in the scan.
        y: row of its upper edge in the scan.
    """

    image: Image.Image
    x: int
    y: int

    def locate(self, box: Box) -> Box:
        """A box of the scan, in pixels of the enlarged window."""
        return Box(*(SCALE * side for side in (box.x0 - self.x, box.y0 - self.y, box.x1 - self.x, box.y1 - self.y)))


def clear_places(boxes: Iterable[Box], size: tuple[int, int]) -> Places:
    """Where a window in a scan of `size` (width, height) touches none of the boxes; sharing an edge is touching."""
    width, height = size
    places = np.ones((height - WINDOW + 1, width - WINDOW + 1), dtype=np.bool_)
    for box in boxes:
        places[max(0, box.y0 - WINDOW) : box.y1 + 1, max(0, box.x0 - WINDOW) : box.x1 + 1] = False
    return places


def isolating_places(box: Box, others: Iterable[Box], size: tuple[int, int]) -> Places:
    """Where a window in a scan of `size` (width, height) holds `box` whole and touches none of the `others`."""
    places = np.zeros((size[1] - WINDOW + 1, size[0] - WINDOW + 1), dtype=np.bool_)
    places[max(0, box.y1 - WINDOW) : box.y0 + 1, max(0, box.x1 - WINDOW) : box.x0 + 1] = True
    return places & clear_places(others, size)


def patterned_places(scan: Image.Image) -> Places:
    """Where a window shows a pattern: copper (black in these scans) and laminate."""
    copper = _share_inside(np.asarray(scan) < 128)
    patterned: Places = (copper >= COPPER_SHARE[0]) & (copper <= COPPER_SHARE[1])
    return patterned


def agreeing_places(tested: Image.Image, template: Image.Image) -> Places:
    """Where a window of both scans shows the same but for specks: some boards have defects that nobody annotated."""
    differs = (np.asarray(tested) < 128) != (np.asarray(template) < 128)
    blobs = Image.fromarray(differs).convert("L").filter(ImageFilter.MinFilter(SPECK))
    agreeing: Places = _share_inside(np.asarray(blobs) > 0) == 0
    return agreeing


def cut_window(scan: Image.Image, places: Places, rng: np.random.Generator) -> Window | None:
    """An enlarged window at a random one of the places; None where there is none."""
    allowed = np.flatnonzero(places)
    if not len(allowed):
        return None
    y, x = (int(value) for value in np.unravel_index(rng.choice(allowed), places.shape))
    # Bicubic: edges as smooth as a photo's, where nearest pixels leave stairs and Lanczos rings around them.
    enlarged = scan.crop((x, y, x + WINDOW, y + WINDOW)).resize((WINDOW * SCALE,) * 2, Image.Resampling.BICUBIC)
    return Window(enlarged.point(SIXTEEN_LEVELS), x, y)


def _share_inside(marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of marked pixels in the window at each place, 0..1; (H, W) -> (H - 111, W - 111)."""
    sums = np.pad(marked.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32), ((1, 0), (1, 0)))  # summed-area table
    inside = sums[WINDOW:, WINDOW:] - sums[:-WINDOW, WINDOW:] - sums[WINDOW:, :-WINDOW] + sums[:-WINDOW, :-WINDOW]
    share: NDArray[np.float64] = inside / WINDOW**2
    return share
