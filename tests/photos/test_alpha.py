"""A fourth channel is alpha if the file says so and some of it shows."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.photos.decode import decode
from tests.helpers.image_files import encoded, looks_like_quadrants, quadrants

WIDTH, HEIGHT = 48, 32
NOT_DECLARED = "its further channel is not declared as alpha, and was left out"
ZERO = "its alpha is 0 everywhere, and was left out"


def with_alpha(alpha):
    """Quadrants with an alpha channel: one number, or one of each pixel."""
    channel = np.broadcast_to(np.asarray(alpha, np.uint8), (HEIGHT, WIDTH))
    return np.dstack([np.asarray(quadrants(WIDTH, HEIGHT)), channel])


def left_half(strength):
    return np.where(np.arange(WIDTH) < WIDTH // 2, strength, 0)


def decoded(data):
    return decode(io.BytesIO(data))


def shows_quadrants(photo):
    return looks_like_quadrants(Image.fromarray(photo.rgb))


def right_half_is_white(photo):
    return (photo.rgb[:, WIDTH // 2 :] == 255).all() and not (photo.rgb[:, : WIDTH // 2] == 255).all()


def bmp(rgba, *, size, alpha_mask, compression=3, file_header=True):
    """A BMP or DIB of 32 bits with bit fields; `size` is that of its info header."""
    pixels = rgba[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = (0xFF0000, 0xFF00, 0xFF, alpha_mask)
    header = struct.pack("<IiiHHIIiiII", size, WIDTH, HEIGHT, 1, 32, compression, len(pixels), 0, 0, 0, 0)
    header = (header + struct.pack("<4I", *masks)).ljust(size, b"\0")
    start = struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(pixels), 0, 0, 14 + len(header))
    return (start if file_header else b"") + header + pixels


def tga(rgba, *, attribute_bits, attribute_type=None):
    """A TGA of 32 bits; of version 2 with an attributes' type."""
    data = struct.pack("<BBB5xHHHHBB", 0, 0, 2, 0, 0, WIDTH, HEIGHT, 32, attribute_bits)
    data += rgba[::-1, :, [2, 1, 0, 3]].tobytes()
    if attribute_type is None:
        return data
    extension = struct.pack("<H", 495).ljust(494, b"\0") + bytes([attribute_type])
    return data + extension + struct.pack("<II18s", len(data), 0, b"TRUEVISION-XFILE.\0")


@pytest.mark.parametrize("file_header", [True, False], ids=["bmp", "dib"])
@pytest.mark.parametrize("size", [56, 108, 124])
def test_bmp_alpha_is_alpha_where_the_header_has_its_mask(size, file_header):
    options = {"size": size, "file_header": file_header}
    photo = decoded(bmp(with_alpha(left_half(255)), alpha_mask=0xFF000000, **options))
    assert right_half_is_white(photo)
    assert photo.note is None
    photo = decoded(bmp(with_alpha(left_half(255)), alpha_mask=0, **options))
    assert shows_quadrants(photo)


def test_bmp_without_any_mask_has_no_alpha():
    data = bytearray(bmp(with_alpha(left_half(200)), size=108, alpha_mask=0))
    data[54:70] = bytes(16)  # Pillow takes this for BGRA
    photo = decoded(bytes(data))
    assert shows_quadrants(photo)
    assert photo.note == NOT_DECLARED


@pytest.mark.parametrize(
    ("attribute_bits", "attribute_type", "is_alpha"),
    [(8, None, True), (0, None, False), (8, 3, True), (8, 1, False), (8, 2, False), (0, 3, False)],
)
def test_tga_alpha_is_alpha_where_header_and_extension_say_so(attribute_bits, attribute_type, is_alpha):
    data = tga(with_alpha(left_half(255)), attribute_bits=attribute_bits, attribute_type=attribute_type)
    photo = decoded(data)
    assert (right_half_is_white if is_alpha else shows_quadrants)(photo)
    assert photo.note == (None if is_alpha else NOT_DECLARED)


def test_tga_of_grey_and_attributes():
    grey = np.dstack([np.asarray(quadrants(WIDTH, HEIGHT).convert("L")), np.zeros((HEIGHT, WIDTH), np.uint8)])
    data = bytearray(encoded(Image.frombytes("LA", (WIDTH, HEIGHT), grey.tobytes()), "TGA"))
    data[17] &= 0xF0
    photo = decoded(bytes(data))
    assert (photo.rgb[..., 0] == grey[..., 0]).all()
    assert photo.note == NOT_DECLARED


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_tiff_of_four_samples_with_no_word_about_the_fourth(dtype, compression):
    file = io.BytesIO()
    values = with_alpha(left_half(255)).astype(dtype) * (257 if dtype == "u2" else 1)
    options = {"photometric": "rgb", "compression": compression, "metadata": None}
    tifffile.imwrite(file, values.astype(dtype), extrasamples=["unassalpha"], **options)
    assert right_half_is_white(decoded(file.getvalue()))
    file.seek(0)
    with tifffile.TiffFile(file) as pages:
        place = pages.pages[0].tags["ExtraSamples"].offset
    data = bytearray(file.getvalue())
    data[place : place + 2] = struct.pack("<H", 65000)  # a tag of nobody's
    photo = decoded(bytes(data))
    assert shows_quadrants(photo)
    assert photo.note == (NOT_DECLARED if dtype == "u1" else "1 of its 4 samples a pixel left out")


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "TGA", "JPEG2000"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_of_zero_everywhere_hides_nothing(file_format, mode):
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    rgba = Image.fromarray(with_alpha(0))
    photo = decoded(encoded(rgba if mode == "RGBA" else rgba.convert("LA"), file_format, **options))
    expected = np.asarray(rgba.convert("RGB").convert("RGB" if mode == "RGBA" else "L").convert("RGB"))
    assert np.abs(photo.rgb.astype(int) - expected).max() <= 1
    assert photo.note == ZERO


def test_palette_with_no_visible_colour_is_shown():
    photo = decoded(encoded(quadrants().quantize(4), "PNG", transparency=bytes(4)))
    assert shows_quadrants(photo)
    assert photo.note == ZERO


def test_faint_alpha_is_alpha():
    photo = decoded(encoded(Image.fromarray(with_alpha(3)), "PNG"))
    assert photo.rgb.min() >= 250
    assert photo.note is None
