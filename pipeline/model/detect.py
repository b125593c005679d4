"""Windows with a defect -> one detection for each defect of a photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.records import Box, Detection, PixelBox

LEAST_SCORE = 0.05  # of a window: less is never listed, whatever the thresholds, which are chosen later
_SAME_DEFECT = 0.5  # of the smaller box's area, inside the other: both are the same defect


@dataclass(frozen=True)
class Candidate:
    """A box found in one window.

    Attributes:
        detection: box, label and score.
        window: the window, in upright pixels.
    """

    detection: Detection
    window: PixelBox

    @property
    def margin(self) -> float:
        """Pixels between the middle of the box and the nearest edge of the window: at an edge, defects are cut off."""
        x0, y0, x1, y1 = self.detection.box
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        left, top, right, bottom = self.window
        return min(x - left, right - x, y - top, bottom - y)


def merge_candidates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keep one box of each defect, found in several overlapping windows; the surest first.

    Of boxes that overlap by half of the smaller one, the best stays: with the highest score, to a hundredth, and of
    equals the farthest from the edges of its window (non-maximum suppression).
    """
    order = sorted(candidates, key=lambda one: (-round(one.detection.score, 2), -one.margin))
    kept: list[Candidate] = []
    for candidate in order:
        if all(_share_inside(candidate.detection.box, other.detection.box) < _SAME_DEFECT for other in kept):
            kept.append(candidate)
    return kept


def _share_inside(one: Box, other: Box) -> float:
    """Return the area of the intersection of two boxes, by that of the smaller one."""
    boxes = np.array([one, other])
    sides = np.maximum(0, boxes[:, 2:].min(axis=0) - boxes[:, :2].max(axis=0))
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return float(sides.prod() / max(areas.min(), 1e-9))
