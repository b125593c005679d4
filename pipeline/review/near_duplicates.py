"""Keeps near-duplicates apart in the queue: a burst of the same board is one question, not ten."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.records import Floats
from pipeline.review.rows import Flags, Integers

LabelCodes = npt.NDArray[np.integer[Any]]

_LAST_SHOWN = 50
_NEAR = 0.98  # correlation of two maps


def push_back_near_duplicates(maps: Sequence[Floats | None], labels: LabelCodes, last: int = _LAST_SHOWN) -> Integers:
    """Move photos near to one of the last few back, until those are out of sight.

    Two photos are near if they have the same label, and maps of the same grid with a correlation of 0.98 or more. If
    all remaining photos are near to one in sight, the one whose twin was shown the longest ago comes first.

    Args:
        maps: the map of each photo in the order of the queue, cells in one row; None: near to no other.
        labels: (n,), the model's label of each photo.
        last: number of photos in sight.

    Returns:
        (n,), the new order, as places in the old one.
    """
    is_near = _find_near_pairs(maps, labels)
    count = len(maps)
    order = np.empty(count, np.int64)
    free_at = np.zeros(count, np.int64)  # the place from which on a photo is far enough from its near ones
    is_left = np.ones(count, bool)
    for place in range(count):
        left = np.flatnonzero(is_left)
        photo = left[np.argmin(np.maximum(free_at[left], place))]
        order[place] = photo
        is_left[photo] = False
        free_at[is_near[photo]] = place + last + 1
    return order


def _find_near_pairs(maps: Sequence[Floats | None], labels: LabelCodes) -> Flags:
    """Compare all photos with each other: (n, n)."""
    is_near = np.zeros((len(maps), len(maps)), bool)
    sizes = np.array([0 if each is None else len(each) for each in maps], np.int64)
    for size in np.unique(sizes[sizes > 0]):
        members = np.flatnonzero(sizes == size)
        cells = np.stack([each for each in maps if each is not None and len(each) == size]).astype(np.float32)
        cells -= cells.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(cells, axis=1, keepdims=True)
        cells /= np.where(lengths > 0, lengths, 1)
        same_label = labels[members, None] == labels[members]
        is_near[np.ix_(members, members)] = same_label & (cells @ cells.T >= _NEAR)
    return is_near
