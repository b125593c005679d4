"""A large photo as windows: where they lie."""

import math
from dataclasses import dataclass

from pipeline.records import PixelBox


@dataclass(frozen=True)
class Tiling:
    """How photos are cut into windows.

    Attributes:
        size: side of a window, in upright pixels of the photo.
        overlap: share of a window's side covered by the next one as well; 0 to below 1.
    """

    size: int
    overlap: float = 0.5

    def cut(self, width: int, height: int) -> list[PixelBox]:
        """Return the windows of a photo, row by row, each (left, top, right, bottom).

        They cover it to its edges: the last ones are moved inwards, none is padded. Along a side shorter than `size`, a
        window is as long as the photo.
        """
        columns, rows = self._starts(width), self._starts(height)
        side_x, side_y = min(self.size, width), min(self.size, height)
        return [(left, top, left + side_x, top + side_y) for top in rows for left in columns]

    def _starts(self, length: int) -> list[int]:
        """Return the first pixels of the windows along one side of a photo."""
        last, step = max(0, length - self.size), max(1, round(self.size * (1 - self.overlap)))
        return [*range(0, last, step), last] if last else [0]

    def count(self, width: int, height: int) -> int:
        """Return the number of windows of a photo."""
        return math.prod(len(self._starts(length)) for length in (width, height))
