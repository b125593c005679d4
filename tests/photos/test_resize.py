import numpy as np
import pytest
from PIL import Image

from pipeline.photos.resize import downscale
from tests.helpers.image_files import smooth_photo


@pytest.mark.parametrize(
    ("size", "smaller"),
    [((301, 200), (160, 107)), ((640, 480), (320, 240)), ((50, 50), (49, 49)), ((7, 300), (1, 40)), ((3, 2), (1, 1))],
)
def test_as_pillow_does_it(size, smaller):
    noise = np.random.default_rng(0).normal(0, 20, (*size[::-1], 3))
    photo = (np.asarray(smooth_photo(*size)) + noise).clip(0, 255).astype(np.uint8)
    expected = np.asarray(Image.fromarray(photo).resize(smaller, Image.Resampling.BICUBIC)).astype(int)
    result = downscale(photo, smaller)
    assert (result.dtype, result.flags.c_contiguous) == (np.uint8, True)
    assert np.abs(result - expected).max() <= 2


@pytest.mark.parametrize("size", [(1203, 901), (40, 5000), (4001, 3)])
def test_much_smaller(size):
    photo = np.asarray(smooth_photo(*size))
    smaller = max(1, size[0] // 9), max(1, size[1] // 9)
    expected = np.asarray(Image.fromarray(photo).resize(smaller, Image.Resampling.BICUBIC)).astype(int)
    result = downscale(photo, smaller)
    assert result.shape == expected.shape
    assert np.abs(result - expected).mean() < 1


def test_photo_of_that_size_is_left_alone():
    photo = np.asarray(smooth_photo(40, 30))
    assert downscale(photo, (40, 30)) is photo


def test_read_only_photo_raises_no_warning_and_stays_as_it_is():
    photo = np.asarray(smooth_photo(40, 30)).copy()
    before = photo.copy()
    photo.flags.writeable = False
    downscale(photo, (20, 15))
    np.testing.assert_array_equal(photo, before)
