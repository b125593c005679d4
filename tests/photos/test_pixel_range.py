"""Black and white of deep photos: asked for, declared by the file, or of the type; never each photo's own."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.photos.decode import decode
from tests.helpers.image_files import encoded, png_bytes

RAMP = np.linspace(0, 1, 64 * 48).reshape(48, 64)
EIGHT_BITS = RAMP * 255


def decoded(data, **settings):
    return decode(io.BytesIO(data), **settings)


def tiff(values, tags=(), **options):
    """A TIFF with further tags: (code, type, count, value)."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, extratags=[(*tag, False) for tag in tags], **options)
    return file.getvalue()


def png16(values, significant_bits=None):
    """A PNG of 16 bits and any number of channels, with or without sBIT."""
    values = values if values.ndim == 3 else values[..., None]
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [] if significant_bits is None else [(b"sBIT", bytes([significant_bits]) * channels)]
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return png_bytes(width, height, bit_depth=16, colour_type=colour_type, rows=rows, chunks=chunks)


def of_bits(bits, dtype=np.uint16):
    return (RAMP * (2**bits - 1)).astype(dtype)


def assert_full_contrast(photo, tolerance=1.0):
    np.testing.assert_allclose(photo.rgb[..., 0], EIGHT_BITS, atol=tolerance)
    assert photo.note is None


SHORT, DOUBLE, TEXT = 3, 12, 2


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        (of_bits(12), [(280, SHORT, 1, 0), (281, SHORT, 1, 4095)]),
        (of_bits(10), [(281, SHORT, 1, 1023)]),
        (of_bits(14, np.uint32), [(340, DOUBLE, 1, 0.0), (341, DOUBLE, 1, 16383.0)]),
        ((RAMP * 2000 - 1000).astype(np.int16), [(340, DOUBLE, 1, -1000.0), (341, DOUBLE, 1, 1000.0)]),
        ((RAMP * 40).astype(np.float32), [(340, DOUBLE, 1, 0.0), (341, DOUBLE, 1, 40.0)]),
    ],
    ids=["12", "10", "14-in-32", "signed", "float"],
)
def test_range_of_tiff_tags(values, tags):
    assert_full_contrast(decoded(tiff(values, tags)))


def test_declared_range_holds_for_dark_photos_too():
    dark = decoded(tiff((RAMP * 400).astype(np.uint16), [(281, SHORT, 1, 4095)]))
    assert dark.rgb.max() == 25


def test_declared_range_of_three_channels():
    values = np.dstack([of_bits(12)] * 3)
    assert_full_contrast(decoded(tiff(values, [(281, SHORT, 3, (4095, 4095, 4095))], photometric="rgb")))


def test_range_holds_when_white_is_zero():
    data = tiff(4095 - of_bits(12), [(281, SHORT, 1, 4095)], photometric="miniswhite")
    assert_full_contrast(decoded(data))


def test_values_outside_the_declared_range_are_clipped_and_said():
    values = of_bits(12)
    values[0, :3] = 60_000
    photo = decoded(tiff(values, [(281, SHORT, 1, 4095)]))
    assert (photo.rgb[0, :3] == 255).all()
    assert photo.note == "0.1% of its values lie outside the declared 0 to 4095"


def test_declaration_that_most_values_contradict_is_not_used():
    photo = decoded(tiff(of_bits(16), [(281, SHORT, 1, 255)]))
    np.testing.assert_allclose(photo.rgb[..., 0], EIGHT_BITS, atol=1)
    assert photo.note == "most values lie outside the declared 0 to 255, so it was not used"


@pytest.mark.parametrize(
    ("values", "nodata"),
    [((RAMP * 40).astype(np.float32), "-9999"), ((RAMP * 40).astype(np.float32), "-3.4028234663852886e+38")],
)
def test_no_data_is_black_and_outside_the_range_of_floats(values, nodata):
    values[:2, :4] = float(nodata)
    photo = decoded(tiff(values, [(42113, TEXT, 0, nodata)]))
    assert (photo.rgb[:2, :4] == 0).all()
    np.testing.assert_allclose(photo.rgb[2:, :, 0], EIGHT_BITS[2:], atol=1)
    assert photo.note is None


def test_no_data_of_integers_is_black():
    values = of_bits(16)
    values[5, 5] = 65535
    photo = decoded(tiff(values, [(42113, TEXT, 0, "65535")]))
    assert (photo.rgb[5, 5] == 0).all()


def test_significant_bits_of_a_png():
    assert_full_contrast(decoded(png16(of_bits(12), 12)))
    assert_full_contrast(decoded(png16(of_bits(10), 10)))
    assert_full_contrast(decoded(png16(np.dstack([of_bits(12)] * 3), 12)))


@pytest.mark.parametrize("fill", ["zeros", "repeated"])
def test_significant_bits_scaled_up_to_16_as_the_specification_says(fill):
    """A dark photo scaled up is no bright one as the camera wrote it."""
    values = of_bits(12) // 20
    scaled = values << 4 if fill == "zeros" else (values << 4) | (values >> 8)
    photo = decoded(png16(scaled, 12))
    assert photo.rgb.max() == 13


def test_white_level_is_asked_for():
    for data in (
        tiff(of_bits(12)),
        tiff(of_bits(12, np.int32)),
        tiff(np.dstack([of_bits(12)] * 3), photometric="rgb"),
        tiff((RAMP * 4095).astype(np.float32)),
        png16(of_bits(12)),
        png16(np.dstack([of_bits(12)] * 3)),
        b"P5 64 48 65535\n" + of_bits(12).astype(">u2").tobytes(),
        b"P5 64 48 5000\n" + of_bits(12).astype(">u2").tobytes(),
    ):
        assert_full_contrast(decoded(data, white_level=4095))


def test_white_level_leaves_8_bits_alone():
    grey = EIGHT_BITS.astype(np.uint8)
    for data in (tiff(grey), encoded(Image.fromarray(grey), "PNG"), encoded(Image.fromarray(grey), "JPEG")):
        assert (decoded(data, white_level=4095).rgb == decoded(data).rgb).all()


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (of_bits(12), "only 17 grey levels left: black is 0, white is 65535, the range of its type"),
        (of_bits(16, np.uint32), "only 1 grey level left: black is 0, white is 4294967295, the range of its type"),
        (
            np.where(RAMP[9, 9] == RAMP, 1e6, RAMP).astype(np.float32),
            "only 2 grey levels left: black is 0, white is 1000000, its own smallest and largest value",
        ),
    ],
    ids=["12", "16-in-32", "hot-pixel"],
)
def test_few_grey_levels_are_said_with_the_range(values, note):
    assert decoded(tiff(values)).note == f"{note}; white_level sets another"


@pytest.mark.parametrize("channels", [3, 4])
def test_few_levels_of_a_colour_are_said_as_those_of_greys(channels):
    values = np.dstack([of_bits(12)] * 3 + [np.full(RAMP.shape, 65535, np.uint16)] * (channels - 3))
    alpha = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    for data in (png16(values), tiff(values, photometric="rgb", **alpha)):
        assert "only 16 grey levels left: black is 0, white is 65535" in decoded(data).note
    full = np.dstack([of_bits(16)] * channels)
    assert decoded(png16(full)).note is None


@pytest.mark.parametrize("values", [np.full((20, 20), 777, np.uint16), np.tile(np.uint16([0, 65535]), (20, 10))])
def test_few_grey_levels_of_the_file_s_own_are_no_loss(values):
    assert decoded(tiff(values)).note is None


def test_photos_of_a_camera_share_a_scale():
    """The same value is the same grey, whatever else is in the picture."""
    first, second = of_bits(16), of_bits(12)
    first[0, 0] = second[0, 0] = 3000
    greys = {int(decoded(tiff(values)).rgb[0, 0, 0]) for values in (first, second)}
    assert greys == {12}


def test_broken_range_tags_are_left_alone():
    low_above_high = [(280, SHORT, 1, 5000), (281, SHORT, 1, 100)]
    assert decoded(tiff(of_bits(16), low_above_high)).note is None
    not_a_number = [(341, DOUBLE, 1, struct.unpack("<d", b"\xff" * 8)[0])]
    assert decoded(tiff(of_bits(16), not_a_number)).note is None
