"""Where a training window lies: around a whole defect, or where there is none."""

from collections.abc import Sequence

import numpy as np

from pipeline.records import Box, PixelBox

_TRIES = 200


def draw_around(
    number: int, boxes: Sequence[Box], size: tuple[int, int], side: int, rng: np.random.Generator
) -> PixelBox:
    """Draw a window that holds a whole box and, if one of many draws allows it, touches no other.

    Args:
        number: of the box.
        boxes: of all defects of the photo, none outside it.
        size: width and height of the photo.
        side: of the window in pixels; the box fits in.
        rng: source of the randomness.
    """
    others = [box for index, box in enumerate(boxes) if index != number]
    x0, y0, x1, y1 = boxes[number]
    spans = [_span(low, high, length, side) for low, high, length in ((x0, x1, size[0]), (y0, y1, size[1]))]
    for _ in range(_TRIES):
        window = _place([int(rng.integers(first, last + 1)) for first, last in spans], size, side)
        if not touches_any(window, others):
            break
    return window


def draw_clear(boxes: Sequence[Box], size: tuple[int, int], side: int, rng: np.random.Generator) -> PixelBox | None:
    """Draw a window that touches no box; None if many draws find none. Arguments as of `draw_around`."""
    for _ in range(_TRIES):
        corner = [int(rng.integers(max(0, length - side) + 1)) for length in size]
        window = _place(corner, size, side)
        if not touches_any(window, boxes):
            return window
    return None


def shift(window: PixelBox, most: int, size: tuple[int, int], rng: np.random.Generator) -> PixelBox:
    """Move a window by up to `most` pixels each way, inside its photo."""
    side = max(window[2] - window[0], window[3] - window[1])
    moved = [int(start + rng.integers(-most, most + 1)) for start in window[:2]]
    corner = [min(max(0, start), max(0, length - side)) for start, length in zip(moved, size, strict=True)]
    return _place(corner, size, side)


def touches_any(window: PixelBox, boxes: Sequence[Box]) -> bool:
    """Tell whether a window shares a pixel or an edge with one of the boxes."""
    left, top, right, bottom = window
    return any(x0 <= right and left <= x1 and y0 <= bottom and top <= y1 for x0, y0, x1, y1 in boxes)


def _span(low: float, high: float, length: int, side: int) -> tuple[int, int]:
    """Return the first and last start of a window, along one axis, that holds a box from `low` to `high`."""
    last = max(0, length - side)
    first = min(max(0, int(np.ceil(high)) - side), last)
    return first, max(first, min(int(np.floor(low)), last))


def _place(corner: Sequence[int], size: tuple[int, int], side: int) -> PixelBox:
    """Return the window at a corner; a photo shorter than the window ends it."""
    left, top = corner
    return left, top, min(left + side, size[0]), min(top + side, size[1])
