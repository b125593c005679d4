import numpy as np

from pipeline.review.row_maps import RowMaps
from pipeline.review.seeds import SeedBox, find_seeds, propose_boxes

WHOLE = (0.0, 0.0, 80.0, 40.0)  # of a photo of 80 x 40 pixels; a map of 4 x 8 cells has 10 pixels a cell
SIZE = (80, 40)


def heat_at(*cells, background=0.0, grid=(4, 8)):
    heat = np.full(grid, background, np.float32)
    for y, x, value in cells:
        heat[y, x] = value
    return heat


def corners(seeds):
    return [(seed.x0, seed.y0, seed.x1, seed.y1) for seed in seeds]


def test_box_of_one_region_in_pixels():
    seeds = find_seeds(heat_at((1, 2, 5.0), (1, 3, 1.1), background=0.5), WHOLE, SIZE)
    assert seeds == (SeedBox(20, 10, 40, 20, 1.0),)


def test_cells_touching_at_a_corner_are_one_region():
    assert corners(find_seeds(heat_at((0, 0, 1.0), (1, 1, 1.0)), WHOLE, SIZE)) == [(0, 0, 20, 20)]


def test_separate_regions_hottest_first():
    seeds = find_seeds(heat_at((0, 0, 1.0), (3, 7, 3.0)), WHOLE, SIZE)
    assert corners(seeds) == [(70, 30, 80, 40), (0, 0, 10, 10)]
    assert [seed.score for seed in seeds] == [0.75, 0.25]


def test_regions_with_touching_boxes_are_merged():
    around = [(0, 0, 1.0), (1, 0, 1.0), (2, 0, 1.0), (2, 1, 1.0), (2, 2, 1.0), (0, 2, 1.0)]
    assert corners(find_seeds(heat_at(*around), WHOLE, SIZE)) == [(0, 0, 30, 30)]


def test_specks_are_left_out():
    assert corners(find_seeds(heat_at((1, 1, 10.0), (1, 2, 10.0), (3, 7, 2.1)), WHOLE, SIZE)) == [(10, 10, 30, 20)]


def test_map_over_a_part_of_the_photo_and_beyond():
    """A crop of the middle, and a map over the model's padding."""
    assert corners(find_seeds(heat_at((0, 0, 1.0)), (20, 10, 60, 30), SIZE)) == [(20, 10, 25, 15)]
    assert corners(find_seeds(heat_at((0, 0, 1.0)), (-10, -10, 90, 50), SIZE)) == [(0, 0, 2.5, 5)]
    assert find_seeds(heat_at((0, 0, 1.0)), (-80, 0, 80, 40), SIZE) == ()


def test_maps_that_say_nothing():
    assert find_seeds(np.zeros((4, 8), np.float32), WHOLE, SIZE) == ()
    assert find_seeds(np.full((4, 8), 0.3, np.float32), WHOLE, SIZE) == ()
    assert find_seeds(np.full((4, 8), -1, np.float32), WHOLE, SIZE) == ()


def test_libragrad_is_preferred_wherever_it_stands():
    rough, fine = heat_at((0, 0, 1.0)), heat_at((3, 7, 1.0))
    for method, maps in (("rollout", {"rollout": rough, "libragrad": fine}), ("libragrad", {"libragrad": fine})):
        seeds = propose_boxes(RowMaps(method, maps, WHOLE), SIZE)
        assert (corners(seeds.boxes), seeds.method, seeds.warning) == ([(70, 30, 80, 40)], "libragrad", None)


def test_other_maps_come_with_a_warning():
    seeds = propose_boxes(RowMaps("rollout", {"rollout": heat_at((0, 0, 1.0))}, WHOLE), SIZE)
    assert seeds.method == "rollout"
    assert "run with --method rollout,libragrad" in seeds.warning
    assert propose_boxes(None, SIZE).as_json()["boxes"] == []
