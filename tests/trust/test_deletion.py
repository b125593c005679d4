"""Deletion and insertion against values worked out by hand."""

import numpy as np
import pytest

from pipeline.trust.deletion import Curve, edit_photo, patch_counts, rank_cells, rank_pixels, remove_content

RNG = np.random.default_rng(0)
MAP = np.array([[0.1, 0.4], [0.2, 0.3]], np.float32)  # the order of cells: 1, 3, 2, 0


def test_curve_area_by_hand():
    curve = Curve(np.array([0.0, 0.25, 1.0]), np.array([1.0, 0.2, 0.0]))
    assert curve.area == pytest.approx(0.25 * 0.6 + 0.75 * 0.1)


def test_points_are_densest_among_the_first_patches():
    assert patch_counts(256, 4) == [0, 4, 16, 64, 256]
    assert patch_counts(2, 4)[0] == 0
    assert patch_counts(2, 4)[-1] == 2


def test_the_hottest_cell_has_rank_0_and_equal_cells_are_ranked_at_random():
    np.testing.assert_array_equal(rank_cells(MAP, RNG), [[3, 0], [2, 1]])
    even = np.zeros((4, 4), np.float32)
    drawn = [rank_cells(even, np.random.default_rng(seed)).ravel().tolist() for seed in range(3)]
    assert all(sorted(order) == list(range(16)) for order in drawn)
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("order", ["deletion", "insertion"])
def test_patches_are_removed_and_put_back_hottest_first(order):
    pixels = np.full((3, 5, 4), 200, np.uint8)  # the fifth row is beyond the last whole patch
    empty = np.zeros_like(pixels)
    ranks = rank_pixels(rank_cells(MAP, RNG), 2, (5, 4))
    after_one, after_three = edit_photo(pixels, empty, ranks, [1, 3], order)
    gone = np.zeros((2, 5, 4), bool)
    gone[0, 0:2, 2:4] = True  # cell 1
    gone[1, 0:4] = True
    gone[1, 0:2, 0:2] = False  # all but cell 0
    expected = np.where(gone, 0, 200) if order == "deletion" else np.where(gone, 200, 0)
    np.testing.assert_array_equal(after_one[0, :4], expected[0, :4])
    np.testing.assert_array_equal(after_three[0, :4], expected[1, :4])
    assert (after_one[0] == after_one[1]).all()
    assert (after_one[0] == after_one[2]).all()


def test_fills_remove_the_content_and_keep_the_colour():
    pixels = np.zeros((3, 64, 64), np.uint8)
    pixels[:, ::2] = 200
    pixels[0] //= 2
    mean, blurred = remove_content(pixels, "mean"), remove_content(pixels, "blur")
    assert mean.shape == blurred.shape == pixels.shape
    assert {tuple(colour) for colour in mean.reshape(3, -1).T.tolist()} == {(50, 100, 100)}
    assert np.ptp(blurred[1, 16:-16].astype(int)) < 20  # stripes of 200 before
    assert blurred[1].mean() == pytest.approx(100, abs=3)
