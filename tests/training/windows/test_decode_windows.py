"""The windows of all splits, ready to be read."""

from dataclasses import replace

import pytest

from pipeline.errors import DataError, StoppedError
from pipeline.labelled.splits import LabelledBox
from pipeline.training.windows.decode_windows import WindowDecoder
from pipeline.training.windows.plan import plan_windows
from tests.training.windows.conftest import SIDE


@pytest.fixture
def decode(processor, tmp_path):
    """A function from photos to the caches of their splits, train unless they have one."""
    work = tmp_path / "work"
    work.mkdir()

    def make(photos, *, stop=lambda: False, side=SIDE):
        windows = plan_windows([replace(photo, split=photo.split or "train") for photo in photos], side)
        decoder = WindowDecoder(windows, side, 0, work, stop, None)
        return decoder.decode(dict.fromkeys((window.split for window in windows), processor))

    return make


def with_boxes(photo, *boxes):
    return replace(photo, label="bar", boxes=tuple(LabelledBox("bar", box) for box in boxes))


def test_each_window_reads_its_own_photo(decode, boxed):
    split = decode(boxed)["train"]
    assert [photo.label for photo in split.photos] == ["bar", "dot"] * 6 + ["ok"] * 12
    for entry, window in zip(split.entries, split.photos, strict=True):
        pixels = split.cache.read(entry)
        assert pixels.shape == (3, 32, 32)
        brightest, darkest = int(pixels.max()), int(pixels.min())
        assert {"bar": darkest < 20, "dot": brightest > 235, "ok": darkest > 40 and brightest < 200}[window.label]


def test_splits_stay_apart(decode, boxed):
    dealt = [replace(photo, split="validation" if number < 3 else "train") for number, photo in enumerate(boxed)]
    splits = decode(dealt)
    assert {window.photo.name for window in splits["validation"].photos} == {photo.name for photo in dealt[:3]}
    assert splits["validation"].cache.store.photos.keys() == {photo.name for photo in dealt[:3]}
    assert splits["train"].cache.store.photos.keys() == {photo.name for photo in dealt[3:]}


def test_unreadable_photos_lose_all_their_windows(decode, boxed, tmp_path, caplog):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")
    split = decode([replace(boxed[0], file=broken), *boxed[1:]])["train"]
    assert "left out 00.png: not an image of a supported format" in caplog.text
    assert split.cache.unreadable == {"00.png": "not an image of a supported format"}
    assert "00.png" not in {window.photo.name for window in split.photos}
    assert [split.cache.windows[entry] for entry in split.entries] == list(split.photos)
    assert len(split.photos) < len(split.cache.windows)


def test_no_readable_photo(decode, boxed, tmp_path):
    (tmp_path / "broken.png").touch()
    with pytest.raises(DataError, match=r"no photo of 'train' can be read, 00.png first: .*; correct the files"):
        decode([replace(boxed[0], file=tmp_path / "broken.png")])


def test_a_box_outside_its_photo_is_an_error_with_its_name(decode, boxed):
    wrong = with_boxes(boxed[1], (3, 3, 9, 9), (120, 3, 130, 9))
    message = "boxes: 01.png: its box 120, 3, 130, 9 holds no pixel of its 120 x 90; boxes are in pixels; correct them"
    with pytest.raises(DataError, match=message):
        decode([boxed[0], wrong, *boxed[2:]])


def test_a_box_partly_outside_ends_at_the_edge_with_a_warning(decode, boxed, caplog):
    split = decode([with_boxes(boxed[0], (100, 80, 130, 95)), *boxed[1:]])["train"]
    assert "boxes reach beyond 1 photos and end at their edges: 00.png" in caplog.text
    assert split.cache.boxes["00.png"] == ((100, 80, 120, 90),)
    assert split.cache.boxes["01.png"] == tuple(box.box for box in boxed[1].boxes)


def test_a_photo_full_of_defects_has_no_clear_window(decode, boxed):
    full = with_boxes(boxed[0], *((x, y, x + 8, y + 8) for x in range(0, 120, 40) for y in range(0, 90, 40)))
    split = decode([full, boxed[2]])["train"]
    assert {window.photo.name for window in split.photos if window.box is None} == {boxed[2].name}
    assert sum(window.box is not None for window in split.photos) == 9
    assert any(window.box is None and window.photo.name == "00.png" for window in split.cache.windows)


def test_a_stopped_decoding_goes_on(decode, boxed):
    with pytest.raises(StoppedError, match="stopped while decoding; run the same command again to go on"):
        decode(boxed, stop=lambda: True)
    assert len(decode(boxed)["train"].photos) == 24
