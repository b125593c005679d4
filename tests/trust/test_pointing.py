"""Pointing against values worked out by hand."""

import numpy as np
import pytest

from pipeline.trust.pointing import measure_on_grid, measure_on_photo
from tests.trust.areas import area_of

MAP = np.array([[0.1, 0.4], [0.2, 0.3]], np.float32)


def test_pointing_on_the_grid_by_hand():
    box = (0.0, 0.0, 40.0, 40.0)
    pointing = measure_on_grid(MAP, box, area_of((20, 0, 40, 20)))  # just the hottest cell
    assert (pointing.hit, pointing.average_precision) == (1, 1)
    assert pointing.mass == pytest.approx(0.4)
    pointing = measure_on_grid(MAP, box, area_of((0, 20, 20, 40)))  # cell 2, third hottest
    assert pointing.hit == 0
    assert pointing.average_precision == pytest.approx(1 / 3)
    pointing = measure_on_grid(MAP, box, area_of((0, 20, 10, 30)))  # a quarter of it: most so of all
    assert pointing.average_precision == pytest.approx(1 / 3)
    assert pointing.mass == pytest.approx(0.2 / 4)
    half = measure_on_grid(MAP, box, area_of((0, 0, 30, 20)))  # the whole of cell 0, half of cell 1
    assert half.hit == 1
    assert half.mass == pytest.approx(0.1 + 0.4 / 2)


def test_of_equally_hot_cells_the_share_inside_counts():
    even = np.ones((2, 2), np.float32)
    assert measure_on_grid(even, (0.0, 0.0, 40.0, 40.0), area_of((20, 0, 40, 20))).hit == 1 / 4


def test_defects_outside_the_map_do_not_count():
    middle = (10.0, 0.0, 30.0, 40.0)  # a centre crop
    assert measure_on_grid(MAP, middle, area_of((0, 0, 9, 40))) is None
    assert measure_on_photo(MAP, middle, area_of((0, 0, 9, 40))) is None
    assert measure_on_grid(MAP, middle, area_of((0, 0, 40, 40))) is None  # nothing is outside the defect
    assert measure_on_photo(MAP, middle, area_of((0, 0, 40, 40))) is None
    seen = measure_on_grid(MAP, middle, area_of((0, 0, 20, 20)))  # of this, only x from 10: cell 0
    assert seen.mass == pytest.approx(0.1)


def test_a_map_larger_than_the_photo():
    padded = (-20.0, 0.0, 60.0, 40.0)
    pointing = measure_on_grid(MAP, padded, area_of((20, 0, 40, 20)))
    assert pointing.hit == 1
    assert pointing.mass == pytest.approx(0.4 * 0.5 / 0.5)  # all pixels of the cell that the photo has
    assert measure_on_photo(MAP, padded, area_of((20, 0, 40, 20))).hit == 1


def test_pointing_on_the_photo():
    sharp = np.zeros((8, 8), np.float32)
    sharp[2, 5] = 1
    pointing = measure_on_photo(sharp, (0.0, 0.0, 80.0, 80.0), area_of((50, 20, 60, 30), size=(80, 80)))
    assert pointing.hit == 1
    assert 0.4 < pointing.mass < 1  # bicubic: some lies beside the cell
    assert pointing.average_precision > 0.9
    elsewhere = measure_on_photo(sharp, (0.0, 0.0, 80.0, 80.0), area_of((10, 60, 20, 70), size=(80, 80)))
    assert (elsewhere.hit, round(elsewhere.mass, 3)) == (0, 0)
