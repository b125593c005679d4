"""Where the windows of a large photo lie."""

import numpy as np
import pytest

from pipeline.photos.tiling import Tiling


@pytest.mark.parametrize(
    ("length", "size", "overlap", "starts"),
    [
        (640, 112, 0.5, [*range(0, 528, 56), 528]),
        (100, 100, 0.5, [0]),
        (101, 100, 0.5, [0, 1]),
        (150, 100, 0.5, [0, 50]),
        (151, 100, 0.5, [0, 50, 51]),
        (250, 100, 0.0, [0, 100, 150]),
        (300, 100, 0.0, [0, 100, 200]),
        (7, 5, 0.9, [0, 1, 2]),  # a step of half a pixel is a whole one
        (30, 100, 0.5, [0]),
    ],
)
def test_windows_along_one_side(length, size, overlap, starts):
    boxes = Tiling(size, overlap).cut(length, 5)
    assert boxes == [(start, 0, start + min(size, length), 5) for start in starts]
    assert Tiling(size, overlap).count(length, 5) == len(starts)


@pytest.mark.parametrize("size", [(640, 640), (333, 97), (64, 200), (20, 10)])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_windows_cover_every_pixel_and_nothing_else(size, overlap):
    width, height = size
    covered = np.zeros((height, width), int)
    boxes = Tiling(64, overlap).cut(width, height)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (right - left, bottom - top) == (min(64, width), min(64, height))
        covered[top:bottom, left:right] += 1
    assert covered.min() == 1  # a corner lies in one window alone
    assert len(set(boxes)) == len(boxes) == Tiling(64, overlap).count(width, height)
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
