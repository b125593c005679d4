"""Windows cut in each epoch elsewhere: the defect whole, or none at all."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.labelled.splits import LabelledBox, LabelledPhoto
from pipeline.training.windows.photo_store import open_store
from pipeline.training.windows.plan import plan_windows
from pipeline.training.windows.window_cache import WindowCache, fit_boxes

SIDE = 32
BACKGROUND, DEFECTS = 60, (200, 130)
BOXES = ((LabelledBox("dent", (10, 12, 22, 20)), LabelledBox("hole", (88, 50, 100, 71))), ())
EPOCHS = range(40)


@pytest.fixture
def cache(processor, tmp_path):
    """The windows of two photos, one with two defects; each defect is of a grey of its own, and so is the rest.

    The processor's input is as large as a window, so pixels stay as they are.
    """
    photos = []
    for number, boxes in enumerate(BOXES):
        pixels = np.full((80, 110, 3), BACKGROUND, np.uint8)
        for grey, box in zip(DEFECTS, boxes, strict=False):
            x0, y0, x1, y1 = box.box
            pixels[y0:y1, x0:x1] = grey
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        photos.append(
            LabelledPhoto(f"{number}.png", tmp_path / f"{number}.png", "dent" if boxes else "ok", boxes=boxes)
        )
    windows = plan_windows(photos, SIDE)
    store = open_store(photos, tmp_path / "train.photos", processor, lambda: False)
    boxes = {photo.name: fit_boxes(store, next(one for one in windows if one.photo == photo)) for photo in photos}
    return WindowCache(store, boxes, windows, processor, SIDE, 0, [], {})


def count_pixels(window, grey):
    """The pixels of one grey in a window, (3, S, S)."""
    return int((window[0] == grey).sum())


def numbers_of(cache, *, clear):
    return [number for number, window in enumerate(cache.windows) if (window.box is None) == clear]


def test_a_window_is_the_same_for_the_same_epoch_and_lies_elsewhere_in_others(cache):
    for number in numbers_of(cache, clear=False):
        first = [cache.read(number, epoch) for epoch in EPOCHS]
        again = [cache.read(number, epoch) for epoch in reversed(EPOCHS)]
        for one, other in zip(first, reversed(again), strict=True):
            np.testing.assert_array_equal(one, other)
        assert len({one.tobytes() for one in first}) > len(EPOCHS) / 2


def test_another_seed_draws_other_windows(cache):
    (number, *_) = numbers_of(cache, clear=False)
    drawn = [[one.read(number, epoch).tobytes() for epoch in EPOCHS] for one in (cache, replace(cache, seed=1))]
    assert len(set(drawn[0]) & set(drawn[1])) < len(EPOCHS) / 2


def test_a_defect_is_always_whole_and_alone(cache):
    """The two defects are too far apart for one window."""
    for number in numbers_of(cache, clear=False):
        box = cache.windows[number].box
        x0, y0, x1, y1 = BOXES[0][box].box
        for epoch in EPOCHS:
            window = cache.read(number, epoch)
            assert (window.shape, window.dtype) == ((3, SIDE, SIDE), np.uint8)
            assert count_pixels(window, DEFECTS[box]) == (x1 - x0) * (y1 - y0)
            assert count_pixels(window, DEFECTS[1 - box]) == 0


def test_a_clear_window_shows_no_defect(cache):
    clear = numbers_of(cache, clear=True)
    assert {cache.windows[number].photo.name for number in clear} == {"0.png", "1.png"}
    for number in clear:
        for epoch in EPOCHS:
            assert count_pixels(cache.read(number, epoch), BACKGROUND) == SIDE * SIDE


@pytest.fixture
def marked(processor, tmp_path):
    """A photo whose every pixel tells its place, and its windows: red is the column, green the row."""
    rows, columns = np.mgrid[:80, :110].astype(np.uint8)
    Image.fromarray(np.stack([columns, rows, rows], axis=2)).save(tmp_path / "places.png")
    photo = LabelledPhoto("places.png", tmp_path / "places.png", "dent", boxes=(LabelledBox("dent", (2, 2, 12, 12)),))
    windows = plan_windows([photo], SIDE)
    store = open_store([photo], tmp_path / "train.photos", processor, lambda: False)
    return WindowCache(store, {photo.name: ((2, 2, 12, 12),)}, windows, processor, SIDE, 0, [], {})


def corners_of(cache, epochs):
    (number,) = numbers_of(cache, clear=True)
    return [tuple(int(value) for value in cache.read(number, epoch)[:2, 0, 0]) for epoch in epochs]


def test_half_of_the_clear_windows_are_hard_ones_moved_a_little(marked):
    hard = (70, 40, 70 + SIDE, 40 + SIDE)
    cache = replace(marked, hard=[("places.png", hard)])
    corners = corners_of(cache, range(400))
    near = [(x, y) for x, y in corners if abs(x - 70) <= SIDE / 8 and abs(y - 40) <= SIDE / 8]
    assert 150 < len(near) < 260
    assert len(set(near)) > 30
    far = set(corners) - set(near)
    assert len(far) > 100
    by_chance = corners_of(marked, range(400))
    assert sum(corner in near for corner in by_chance) < 40


def test_a_hard_window_never_moves_onto_a_defect(marked):
    beside = (13, 13, 13 + SIDE, 13 + SIDE)
    corners = corners_of(replace(marked, hard=[("places.png", beside)]), range(400))
    assert all(x > 12 or y > 12 for x, y in corners)
    assert corners.count((13, 13)) > 20  # where the move was none, since it would have touched the box


def test_a_hard_window_of_another_photo_is_cut_from_that_one(cache):
    (number,) = [one for one in numbers_of(cache, clear=True) if cache.windows[one].photo.name == "0.png"]
    Image.new("RGB", (SIDE, SIDE), (9, 9, 9)).save(cache.store.file.parent / "dark.png")
    dark = LabelledPhoto("dark.png", cache.store.file.parent / "dark.png", "ok")
    store = open_store(
        [*{one.photo.name: one.photo for one in cache.windows}.values(), dark],
        cache.store.file.with_name("more.photos"), cache.processor, lambda: False,
    )  # fmt: skip
    hard = [("dark.png", (0, 0, SIDE, SIDE))]
    more = replace(cache, store=store, boxes=cache.boxes | {"dark.png": ()}, hard=hard)
    greys = [int(more.read(number, epoch).max()) for epoch in range(60)]
    assert set(greys) == {9, BACKGROUND}


def test_boxes_end_at_the_edges_of_their_photo(cache):
    window = cache.windows[0]
    boxes = tuple(LabelledBox("dent", box) for box in ((-3, -4.5, 5, 6), (100, 70, 200, 81), (0, 0, 110, 80)))
    fitted = fit_boxes(cache.store, replace(window, photo=replace(window.photo, boxes=boxes)))
    assert fitted == ((0, 0, 5, 6), (100, 70, 110, 80), (0, 0, 110, 80))


@pytest.mark.parametrize("box", [(110, 0, 120, 9), (-9, 0, 0, 9), (0, 200, 9, 300), (109.5, 0, 120, 9)])
def test_a_box_outside_its_photo_is_described(cache, box):
    window = cache.windows[0]
    outside = replace(window, photo=replace(window.photo, boxes=(LabelledBox("dent", box),)))
    corners = ", ".join(f"{corner:g}" for corner in box)
    assert fit_boxes(cache.store, outside) == (f"its box {corners} holds no pixel of its 110 x 80; boxes are in pixels")
