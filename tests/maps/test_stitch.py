"""One map over a photo, from the maps of its windows."""

import numpy as np
import pytest

from pipeline.maps import stitch
from pipeline.maps.stitch import stitch_maps
from pipeline.photos.tiling import Tiling


def test_a_single_window_keeps_its_map():
    heat = np.random.default_rng(0).random((1, 5, 7)).astype(np.float32)
    np.testing.assert_array_equal(stitch_maps(heat, [(0, 0, 70, 50)], (70, 50)), heat[0])


@pytest.mark.parametrize("size", [(640, 640), (333, 117), (112, 300)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_maps_of_a_smooth_field_give_the_field(size, overlap):
    """Every window sees a slope of the whole photo at its own place: stitched, it is that slope again."""
    boxes = Tiling(112, overlap).cut(*size)
    side_x, side_y = min(112, size[0]), min(112, size[1])
    at_x, at_y = (np.arange(8) + 0.5) / 8 * side_x, (np.arange(8) + 0.5) / 8 * side_y
    maps = np.stack([3 * (left + at_x)[None, :] - (top + at_y)[:, None] for left, top, _, _ in boxes])
    stitched = stitch_maps(maps.astype(np.float32), boxes, size)
    rows, columns = stitched.shape
    assert abs(columns - 8 * size[0] / side_x) <= 0.5
    assert abs(rows - 8 * size[1] / side_y) <= 0.5
    field_x, field_y = (np.arange(columns) + 0.5) / columns * size[0], (np.arange(rows) + 0.5) / rows * size[1]
    expected = 3 * field_x[None, :] - field_y[:, None]
    inner = (slice(1, -1), slice(1, -1))  # beyond the middle of its last cell a window's map is flat
    tolerance = 3 * 14 if overlap == 0 else 10  # without overlap it is flat at each border, by half a cell
    np.testing.assert_allclose(stitched[inner], expected[inner], atol=tolerance)


@pytest.mark.parametrize("overlap", [0.5, 0.75])
def test_no_seam_where_a_window_begins(overlap):
    """A constant picture gives each window the same map, here the worst one, hot along its edges.

    In its outermost cells a window changes what the others say by less than 2% of the range.
    """
    boxes = Tiling(112, overlap).cut(1120, 112)
    edges = np.zeros((16, 16), np.float32)
    edges[:, [0, -1]] = 1
    stitched = stitch_maps(np.stack([edges] * len(boxes)), boxes, (1120, 112))
    for number, (left, _, right, _) in enumerate(boxes[1:-1], start=1):
        others = [box for box in boxes if box != boxes[number]]
        without = stitch_maps(np.stack([edges] * len(others)), others, (1120, 112))
        for cell in (left // 7, right // 7 - 1):
            assert np.abs(stitched[:, cell] - without[:, cell]).max() < 0.02


def test_a_hot_spot_stays_where_it_is():
    """One hot cell of one window: the maximum of the stitched map lies over it."""
    size = (400, 300)
    boxes = Tiling(100).cut(*size)
    maps = np.zeros((len(boxes), 10, 10), np.float32)
    index = boxes.index((150, 100, 250, 200))
    maps[index, 4, 6] = 1  # pixels 210..220, 140..150
    stitched = stitch_maps(maps, boxes, size)
    assert stitched.shape == (30, 40)
    assert np.unravel_index(stitched.argmax(), stitched.shape) == (14, 21)


def test_a_huge_photo_has_larger_cells(monkeypatch):
    monkeypatch.setattr(stitch, "MOST_CELLS", 600)
    size = (400, 300)
    boxes = Tiling(100).cut(*size)
    maps = np.full((len(boxes), 10, 10), 0.25, np.float32)
    stitched = stitch_maps(maps, boxes, size)
    assert stitched.shape == (21, 28)
    np.testing.assert_allclose(stitched, 0.25)
