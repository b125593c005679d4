"""Whole photos in one file, to cut windows from."""

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import StoppedError
from pipeline.labelled.splits import LabelledPhoto
from pipeline.training.windows.photo_store import open_store
from tests.helpers.image_files import smooth_photo, with_orientation


@pytest.fixture
def photos(tmp_path):
    """Photos in colours, in grey, of a single pixel, turned by an EXIF orientation, and broken."""
    smooth_photo(61, 43).save(tmp_path / "colours.png")
    smooth_photo(40, 70, seed=1).convert("L").save(tmp_path / "grey.png")
    Image.new("RGB", (1, 1), "red").save(tmp_path / "pixel.png")
    (tmp_path / "turned.jpg").write_bytes(with_orientation(smooth_photo(3000, 1200, seed=2), "JPEG", 6))
    (tmp_path / "broken.png").write_bytes(b"broken")
    names = ("colours.png", "grey.png", "pixel.png", "turned.jpg", "broken.png")
    return [LabelledPhoto(name, tmp_path / name, "ok") for name in names]


@pytest.fixture
def store(photos, processor, tmp_path):
    return open_store(photos, tmp_path / "train.photos", processor, lambda: False)


def test_windows_are_the_pixels_of_the_upright_photo(store, photos):
    for photo in photos[:-1]:
        with Image.open(photo.file) as image:
            image = image.transpose(Image.Transpose.ROTATE_270) if photo.name == "turned.jpg" else image
            width, height = image.size
            upright = image.convert("RGB")
        assert store.photos[photo.name].size == (width, height)
        for window in [(0, 0, width, height), (width // 3, height // 2, width, height), (0, height // 3, 1, height)]:
            np.testing.assert_array_equal(store.cut(photo.name, window), np.asarray(upright.crop(window)))


def test_grey_photos_take_a_third_of_the_place(store):
    channels = {name: photo.channels for name, photo in store.photos.items()}
    assert channels == {"colours.png": 3, "grey.png": 1, "pixel.png": 3, "turned.jpg": 3}
    assert store.file.stat().st_size == 3 * 61 * 43 + 40 * 70 + 3 + 3 * 3000 * 1200


def test_unreadable_photos_are_named(store):
    assert store.unreadable == {"broken.png": "not an image of a supported format"}
    assert "broken.png" not in store.photos


def test_a_resumed_training_decodes_nothing_again(store, photos, processor, tmp_path, caplog):
    caplog.set_level("INFO")
    before = {name: store.cut(name, (0, 0, *photo.size)) for name, photo in store.photos.items()}
    for photo in photos:
        photo.file.unlink()
    again = open_store(photos, tmp_path / "train.photos", processor, lambda: False)
    assert again == store
    assert caplog.messages == []
    for name, pixels in before.items():
        np.testing.assert_array_equal(again.cut(name, (0, 0, *again.photos[name].size)), pixels)


def test_a_stop_leaves_no_description_behind(photos, processor, tmp_path, caplog):
    caplog.set_level("INFO")
    with pytest.raises(StoppedError, match="stopped while decoding; run the same command again to go on"):
        open_store(photos, tmp_path / "train.photos", processor, lambda: True)
    assert not (tmp_path / "train.json").exists()
    assert len(open_store(photos, tmp_path / "train.photos", processor, lambda: False).photos) == 4
    assert caplog.messages[-1] == "decoded 5 photos for train, 1 unreadable"
