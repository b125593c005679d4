"""Overlays as PNG files: exact, and no larger than Pillow's."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.overlays.png import encode_png
from tests.helpers.image_files import smooth_photo


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (64, 64), (65, 63), (100, 129)])
@pytest.mark.parametrize("kind", ["noise", "steps", "smooth"])
def test_pixels_come_back(size, kind):
    width, height = size
    random = np.random.default_rng(0)
    pictures = {
        "noise": random.integers(0, 256, (height, width, 3), dtype=np.uint8),  # all orders of neighbouring values
        "steps": random.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), (height, width, 3)),  # and ties
        "smooth": np.asarray(smooth_photo(width, height)),
    }
    picture = pictures[kind]
    with Image.open(io.BytesIO(encode_png(picture))) as image:
        image.verify()  # checksums
    with Image.open(io.BytesIO(encode_png(picture))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", size)
        np.testing.assert_array_equal(np.asarray(image), picture)


def test_files_are_no_larger_than_pillows():
    photo = np.asarray(smooth_photo(400, 300)).astype(int)
    noisy = (photo + np.random.default_rng(0).normal(0, 4, photo.shape)).clip(0, 255).astype(np.uint8)
    rows, columns = np.repeat(noisy[:, :1], 400, axis=1), np.repeat(noisy[:1], 300, axis=0)
    for picture in (noisy, np.full_like(noisy, 255), rows, columns):
        pillow = io.BytesIO()
        Image.fromarray(picture).save(pillow, "PNG", compress_level=1)
        assert len(encode_png(picture)) < 1.02 * len(pillow.getvalue()) + 200


def test_views_and_read_only_pictures():
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture.flags.writeable = False
    for view in (picture, picture[::2, 10:], picture[:, ::-1], picture[..., ::-1]):
        with Image.open(io.BytesIO(encode_png(view))) as image:
            np.testing.assert_array_equal(np.asarray(image), view)
