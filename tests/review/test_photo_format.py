import struct

import numpy as np
import pytest
from PIL import Image

from pipeline.review.photo_format import browser_type
from tests.helpers.image_files import encoded, frames, png_bytes, quadrants, tiff_bytes, with_orientation

PHOTO = quadrants()
DEEP_PNG = png_bytes(2, 1, bit_depth=16, colour_type=0, rows=b"\0\x12\x34\x56\x78")


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (encoded(PHOTO, "JPEG"), "image/jpeg"),
        (encoded(PHOTO, "JPEG", progressive=True), "image/jpeg"),
        (encoded(PHOTO.convert("L"), "JPEG"), "image/jpeg"),
        (with_orientation(PHOTO, "JPEG", 6), "image/jpeg"),  # browsers turn it upright
        (encoded(PHOTO, "PNG"), "image/png"),
        (encoded(PHOTO.convert("P"), "PNG"), "image/png"),
        (encoded(PHOTO, "WEBP"), "image/webp"),
        (encoded(PHOTO, "AVIF"), "image/avif"),
        (encoded(PHOTO, "BMP"), "image/bmp"),
    ],
)
def test_shown_by_browsers(content, media_type):
    assert browser_type(content) == media_type


@pytest.mark.parametrize(
    "content",
    [
        encoded(PHOTO.convert("CMYK"), "JPEG"),
        encoded(PHOTO, "TIFF"),
        tiff_bytes(np.arange(6, dtype=np.uint16).reshape(2, 3)),
        DEEP_PNG,
        frames("GIF"),
        frames("PNG"),  # browsers would play it
        frames("WEBP"),
        with_orientation(PHOTO, "PNG", 6),
        with_orientation(PHOTO, "WEBP", 6),
        encoded(Image.new("1", (8, 8)), "BMP"),
        encoded(PHOTO, "PPM"),
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
    ],
)
def test_decoded_here(content):
    assert browser_type(content) is None


@pytest.mark.parametrize("length", [0, 1, 2])
def test_cut_and_looping_files_come_to_an_end(length):
    for content in (encoded(PHOTO, "JPEG"), encoded(PHOTO, "PNG"), encoded(PHOTO, "WEBP"), encoded(PHOTO, "BMP")):
        for end in range(40):
            browser_type(content[:end])
    segment = b"\xff\xe0" + struct.pack(">H", length)  # shorter than its own length field
    assert browser_type(b"\xff\xd8" + segment * 1000) is None
