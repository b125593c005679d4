"""Boxes around the hot regions of a map."""

import numpy as np

from pipeline.maps.hot_regions import find_hot_regions

WHOLE = (0.0, 0.0, 80.0, 40.0)  # of a photo of 80 x 40 pixels; a map of 4 x 8 cells has 10 pixels a cell
SIZE = (80, 40)


def heat_at(*cells, background=0.0, grid=(4, 8)):
    heat = np.full(grid, background, np.float32)
    for y, x, value in cells:
        heat[y, x] = value
    return heat


def surrounds(seed, left, top, right, bottom):
    """Tell whether a box holds a region of hot cells (in pixels) with a rim of half a cell to a cell and a half."""
    rims = (left - seed.x0, top - seed.y0, seed.x1 - right, seed.y1 - bottom)
    return all(5 <= rim <= 15 for rim in rims)


def test_box_of_one_region_in_pixels():
    (seed,) = find_hot_regions(heat_at((5, 6, 5.0), (5, 7, 4.0), grid=(12, 16)), (0, 0, 160, 120), (160, 120))
    assert surrounds(seed, 60, 50, 80, 60)
    assert seed.score == 1


def test_box_grows_with_the_heat_beside_its_peak():
    """A box may end inside a cell: its edge follows the heat between two cells."""
    weak = heat_at((5, 6, 1.0), (5, 7, 0.12), grid=(12, 16))
    strong = heat_at((5, 6, 1.0), (5, 7, 0.9), grid=(12, 16))
    (near,), (far,) = (find_hot_regions(heat, (0, 0, 160, 120), (160, 120)) for heat in (weak, strong))
    assert 70 <= near.x1 < far.x1 <= 95


def test_cells_touching_at_a_corner_are_one_region():
    (seed,) = find_hot_regions(heat_at((5, 6, 1.0), (6, 7, 1.0), grid=(12, 16)), (0, 0, 160, 120), (160, 120))
    assert surrounds(seed, 60, 50, 80, 70)


def test_separate_regions_hottest_first():
    hot, warm = find_hot_regions(heat_at((2, 2, 1.0), (9, 12, 3.0), grid=(12, 16)), (0, 0, 160, 120), (160, 120))
    assert surrounds(hot, 120, 90, 130, 100)
    assert surrounds(warm, 20, 20, 30, 30)
    assert hot.score > warm.score
    assert abs(hot.score + warm.score - 1) < 0.001


def test_specks_are_left_out():
    seeds = find_hot_regions(
        heat_at((2, 2, 10.0), (2, 3, 10.0), (9, 12, 1.8), grid=(12, 16)), (0, 0, 160, 120), (160, 120)
    )
    assert len(seeds) == 1


def test_map_over_a_part_of_the_photo_and_beyond():
    """A crop of the middle, and a map over the model's padding."""
    (middle,) = find_hot_regions(heat_at((1, 3, 1.0)), (20, 10, 60, 30), SIZE)  # cells of 5 x 5 pixels
    assert middle.x0 < 35 < 40 < middle.x1 <= 48
    assert middle.y0 < 15 < 20 < middle.y1 <= 28
    (edge,) = find_hot_regions(heat_at((0, 0, 1.0)), (0, 0, 80, 40), SIZE)
    assert (edge.x0, edge.y0) == (0, 0)
    assert find_hot_regions(heat_at((0, 0, 1.0)), (-80, 0, 80, 40), SIZE) == ()


def test_maps_that_say_nothing():
    assert find_hot_regions(np.zeros((4, 8), np.float32), WHOLE, SIZE) == ()
    assert find_hot_regions(np.full((4, 8), 0.3, np.float32), WHOLE, SIZE) == ()
    assert find_hot_regions(np.full((4, 8), -1, np.float32), WHOLE, SIZE) == ()
