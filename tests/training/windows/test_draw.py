"""Where training windows lie."""

import numpy as np
import pytest

from pipeline.training.windows.draw import draw_around, draw_clear, shift, touches_any

SIZE = (200, 120)
SIDE = 50
DRAWS = 300


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def holds(window, box):
    return window[0] <= box[0] and window[1] <= box[1] and box[2] <= window[2] and box[3] <= window[3]


def is_inside(window, size=SIZE, side=SIDE):
    left, top, right, bottom = window
    sides = (right - left, bottom - top) == (min(side, size[0]), min(side, size[1]))
    return sides and left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]


@pytest.mark.parametrize(
    "box",
    [
        (90, 40, 100, 60),
        (0, 0, 4, 6),
        (196, 114, 200, 120),
        (0, 70, 50, 120),
        (100.5, 30.25, 120.75, 44.5),
        (199.4, 0, 200, 1),
        (60, 30, 110, 80),
    ],
)
def test_a_window_holds_its_whole_box_inside_the_photo(rng, box):
    for _ in range(DRAWS):
        window = draw_around(0, [box], SIZE, SIDE, rng)
        assert is_inside(window)
        assert holds(window, box)


def test_a_window_lies_anywhere_around_its_box(rng):
    box = (90, 40, 100, 60)
    windows = [draw_around(0, [box], SIZE, SIDE, rng) for _ in range(2000)]
    assert {left for left, *_ in windows} == set(range(50, 91))
    assert {top for _, top, *_ in windows} == set(range(10, 41))


def test_a_window_touches_no_other_box_if_one_of_many_draws_allows_it(rng):
    boxes = [(90, 40, 100, 60), (110, 30, 130, 60), (85, 70, 100, 80)]
    for _ in range(DRAWS):
        window = draw_around(0, boxes, SIZE, SIDE, rng)
        assert holds(window, boxes[0])
        assert not touches_any(window, boxes[1:])


def test_a_box_beside_another_has_a_window_with_both(rng):
    boxes = [(90, 40, 100, 60), (101, 40, 111, 60), (79, 40, 89, 60)]
    for _ in range(DRAWS):
        window = draw_around(0, boxes, SIZE, SIDE, rng)
        assert holds(window, boxes[0])
        assert is_inside(window)


def test_a_clear_window_touches_no_box_and_lies_anywhere_else(rng):
    boxes = [(60, 0, 70, 120)]
    windows = [draw_clear(boxes, SIZE, SIDE, rng) for _ in range(2000)]
    assert not any(touches_any(window, boxes) for window in windows)
    assert all(map(is_inside, windows))
    assert {left for left, *_ in windows} == {*range(10), *range(71, 151)}
    assert {top for _, top, *_ in windows} == set(range(71))


@pytest.mark.parametrize("boxes", [[(0, 0, 200, 120)], [(x, y, x + 2, y + 2) for x in (49, 98, 149) for y in (40, 75)]])
def test_a_photo_full_of_boxes_has_no_clear_window(rng, boxes):
    assert draw_clear(boxes, SIZE, SIDE, rng) is None


@pytest.mark.parametrize("size", [(30, 20), (30, 120), (200, 20), (50, 50)])
def test_a_window_ends_where_a_small_photo_ends(rng, size):
    box = (3, 4, 12, 9)
    for _ in range(DRAWS):
        for window in (draw_around(0, [box], size, SIDE, rng), draw_clear([], size, SIDE, rng)):
            assert is_inside(window, size)
        assert holds(draw_around(0, [box], size, SIDE, rng), box)
    assert (draw_clear([box], size, SIDE, rng) is None) == (size != (200, 20) and size != (30, 120))


@pytest.mark.parametrize("size", [SIZE, (30, 120), (200, 20), (30, 20)])
def test_a_window_moves_a_little_and_stays_inside(rng, size):
    start = draw_clear([], size, SIDE, rng)
    moves = [np.subtract(shift(start, 6, size, rng), start) for _ in range(DRAWS)]
    assert all(is_inside(start + move, size) for move in moves)
    assert np.abs(moves).max() <= 6
    for axis, length in enumerate(size):
        assert len({move[axis] for move in moves}) > 1 or length <= SIDE


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ((10, 10, 20, 20), True),
        ((60, 0, 61, 9), True),
        ((60.5, 0, 61, 9), False),
        ((0, 51, 60, 60), False),
        ((-5, -5, 0, 0), True),
        ((20, 20, 20.5, 100), True),
    ],
)
def test_a_shared_edge_is_a_touch(box, touches):
    window = (0, 0, 60, 50)
    assert touches_any(window, [(100, 100, 110, 110), box]) == touches
    assert not touches_any(window, [])
