"""Photos as pixels: decoded once, unreadable ones left out."""

import numpy as np
import pytest

from pipeline.errors import DataError, StoppedError
from pipeline.labelled.read import read_labelled_photos
from pipeline.training.backbone import build_processor
from pipeline.training.pixel_cache import decode_splits
from tests.training.marked_photos import save_marked_photos


@pytest.fixture
def photos_of_one_split(tmp_path):
    folder = save_marked_photos(tmp_path / "photos" / "train", count=3)
    return lambda: [photo for photo in read_labelled_photos(folder.parent) if photo.split == "train"], folder


@pytest.fixture
def processors(tiny_checkpoint):
    return {"train": build_processor(tiny_checkpoint("vit"), 32)}


def test_unreadable_photos_are_named_and_left_out(photos_of_one_split, processors, tmp_path, caplog):
    read_photos, folder = photos_of_one_split
    (folder / "ok" / "01.png").write_bytes(b"broken")
    caplog.set_level("WARNING")
    split = decode_splits(read_photos(), processors, tmp_path, lambda: False)["train"]
    assert "left out train/ok/01.png: not an image of a supported format" in caplog.text
    assert split.cache.unreadable.keys() == {"train/ok/01.png"}
    assert [photo.name for photo in split.photos][-2:] == ["train/ok/00.png", "train/ok/02.png"]
    assert split.entries == (0, 1, 2, 3, 4, 5, 6, 8)


def test_pixels_are_those_of_their_photo_and_decoded_once(photos_of_one_split, processors, tmp_path, caplog):
    read_photos, _ = photos_of_one_split
    caplog.set_level("INFO")
    first, again = (decode_splits(read_photos(), processors, tmp_path, lambda: False)["train"] for _ in range(2))
    assert caplog.text.count("decoded 9 photos for train, 0 unreadable") == 1
    for entry, photo in zip(first.entries, first.photos, strict=True):
        pixels = first.cache.read(entry)
        assert pixels.shape == (3, 32, 32)
        assert np.array_equal(pixels, again.cache.read(entry))
        brightest, darkest = int(pixels.max()), int(pixels.min())
        assert {"bar": darkest < 20, "dot": brightest > 235, "ok": darkest > 40 and brightest < 200}[photo.label]


def test_pixels_of_another_resize_are_not_reused(photos_of_one_split, processors, tiny_checkpoint, tmp_path):
    """A training interrupted before its recipe is complete may choose another one the next time."""
    read_photos, _ = photos_of_one_split
    decode_splits(read_photos(), processors, tmp_path, lambda: False)
    stretched = decode_splits(read_photos(), {"train": build_processor(tiny_checkpoint("vit"), 48)}, tmp_path, bool)
    padder = {"train": build_processor(tiny_checkpoint("vit"), 48, "pad")}
    padded = decode_splits(read_photos(), padder, tmp_path, bool)["train"].cache
    (tmp_path / "fresh").mkdir()
    fresh = decode_splits(read_photos(), padder, tmp_path / "fresh", bool)["train"].cache
    assert stretched["train"].cache.size == 48
    for entry in range(9):
        assert np.array_equal(padded.read(entry), fresh.read(entry))


def test_no_readable_photo(photos_of_one_split, processors, tmp_path):
    read_photos, folder = photos_of_one_split
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    message = r"no photo of 'train' can be read, train/bar/00.png first: .*; correct the files"
    with pytest.raises(DataError, match=message):
        decode_splits(read_photos(), processors, tmp_path, lambda: False)


def test_stopped_while_decoding(photos_of_one_split, processors, tmp_path):
    read_photos, _ = photos_of_one_split
    with pytest.raises(StoppedError, match="stopped while decoding; run the same command again to go on"):
        decode_splits(read_photos(), processors, tmp_path, lambda: True)
    assert not (tmp_path / "train.json").exists()
