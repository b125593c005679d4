"""The windows of an epoch: one around each box, as many without a defect."""

from collections import Counter
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.labelled.splits import LabelledBox, LabelledPhoto, labels_of
from pipeline.training.windows.plan import list_whole_photos, plan_windows


def photo_of(name, *boxes, label=None, **more):
    """A photo; boxes are (label, x0, y0, x1, y1)."""
    found = tuple(LabelledBox(kind, tuple(corners)) for kind, *corners in boxes)
    return LabelledPhoto(name, Path(f"/{name}"), label or (found[0].label if found else "ok"), boxes=found, **more)


TWO = photo_of("two.png", ("dent", 1, 2, 11, 12), ("hole", 20, 2, 30.5, 9))
ONE = photo_of("one.png", ("dent", 1, 2, 11, 12))
GOOD = photo_of("good.png")


def test_each_box_has_a_window_and_as_many_show_no_defect():
    windows = plan_windows([TWO, GOOD, ONE], 50)
    around = [window for window in windows if window.box is not None]
    assert [(window.photo, window.box, window.label) for window in around] == [
        (TWO, 0, "dent"),
        (TWO, 1, "hole"),
        (ONE, 0, "dent"),
    ]
    clear = [window for window in windows if window.box is None]
    assert [(window.photo, window.label) for window in clear] == [(TWO, "ok"), (GOOD, "ok"), (ONE, "ok")]
    assert len({window.name for window in windows}) == 6


@pytest.mark.parametrize(("boxes", "good"), [(7, 3), (1, 4), (5, 0), (12, 1)])
def test_windows_without_a_defect_are_spread_evenly(boxes, good):
    crowded = photo_of("crowded.png", *(("dent", 10 * number, 0, 10 * number + 5, 5) for number in range(boxes)))
    photos = [crowded, *(photo_of(f"good-{number}.png") for number in range(good))]
    counts = Counter(window.photo.name for window in plan_windows(photos, 50) if window.box is None)
    per_photo = [counts[photo.name] for photo in photos]
    assert sum(per_photo) == max(boxes, len(photos))  # each photo has one, so that its split is known
    assert max(per_photo) - min(per_photo) <= 1


def test_windows_have_the_split_weight_and_file_of_their_photo():
    photo = photo_of("a.png", ("dent", 1, 2, 11, 12), split="train", weight=0.3)
    for window in plan_windows([photo], 50):
        assert (window.split, window.weight, window.file, window.boxes) == ("train", 0.3, photo.file, None)


def test_windows_of_a_photo_are_a_group_or_of_its_group():
    grouped = photo_of("b.png", ("dent", 1, 2, 11, 12), group="board-1")
    groups = {window.photo.name: window.group for window in plan_windows([TWO, GOOD, grouped], 50)}
    assert groups == {"two.png": "two.png", "good.png": "good.png", "b.png": "board-1"}


@pytest.mark.parametrize(("photos", "good"), [([ONE, photo_of("n.png", label="Normal")], "Normal"), ([ONE], "ok")])
def test_windows_without_a_defect_have_the_good_label_of_the_data(photos, good):
    assert labels_of(plan_windows(photos, 50)) == sorted(["dent", good])


def test_boxes_larger_than_a_window_are_named(caplog):
    large = photo_of("large.png", ("dent", 0, 0, 10, 51), ("hole", 2, 2, 52, 52), ("hole", 0, 0, 50.5, 1))
    windows = plan_windows([large, GOOD], 50)
    assert [window.box for window in windows if window.box is not None] == [1]
    assert "2 boxes are larger than a window of 50 pixels" in caplog.text
    assert "large.png (dent at 0, 0, 10, 51), large.png (hole at 0, 0, 50.5, 1); use a larger --tile" in caplog.text


def test_defects_without_boxes_are_counted_and_left_out(caplog):
    unknown = [LabelledPhoto(f"{number}.png", Path("/"), "dent") for number in range(3)]
    windows = plan_windows([*unknown, ONE, LabelledPhoto("fine.png", Path("/"), "ok")], 50)
    assert caplog.messages == ["3 photos have defects without boxes and are left out"]
    assert {window.photo.name for window in windows} <= {"one.png", "fine.png"}


@pytest.mark.parametrize(
    "photos",
    [[GOOD], [photo_of("large.png", ("dent", 0, 0, 60, 5)), GOOD], [LabelledPhoto("a.png", Path("/"), "dent")]],
)
def test_without_a_box_that_fits_nothing_can_be_learned(photos):
    with pytest.raises(DataError, match=r"tile = 50: no photo has a box that fits into a window; give a CSV"):
        plan_windows(photos, 50)


def test_photos_of_windows_are_listed_once_with_the_split_of_their_windows():
    windows = plan_windows([TWO, ONE], 50)
    dealt = [type(window)(**vars(window) | {"split": "test"}) for window in windows]
    photos = list_whole_photos([*dealt, GOOD])
    assert [(photo.name, photo.split, photo.boxes, photo.group) for photo in photos] == [
        ("two.png", "test", TWO.boxes, None),
        ("one.png", "test", ONE.boxes, None),
        ("good.png", None, (), None),
    ]
