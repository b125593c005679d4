"""Files to take byte for byte, told by their header alone."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipeline.export.plain_header import PlainHeader, read_plain_header
from tests.export.archive import KINDS, PLAIN
from tests.helpers.image_files import encoded, png_bytes, quadrants, with_orientation


@pytest.mark.parametrize("kind", KINDS)
def test_only_upright_8_bit_jpeg_and_png_are_plain(tmp_path, kind):
    (tmp_path / kind).write_bytes(KINDS[kind](1, "short"))
    header = read_plain_header(str(tmp_path / kind))
    assert header == (PlainHeader(f".{kind[-3:]}", 64, 48) if kind in PLAIN else None)


def write(tmp_path, content):
    (tmp_path / "photo").write_bytes(content)
    return str(tmp_path / "photo")


def png_with_text(key, text, *, compressed=False):
    info = PngImagePlugin.PngInfo()
    info.add_text(key, text, zip=compressed)
    return encoded(quadrants(), "PNG", pnginfo=info)


XMP = '<x:xmpmeta><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


@pytest.mark.parametrize(("value", "is_plain"), [(1, True), (6, False)])
def test_orientation_in_the_text_of_a_png(tmp_path, value, is_plain):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.format(value))
    file = write(tmp_path, encoded(quadrants(), "PNG", pnginfo=info))
    assert (read_plain_header(file) is not None) == is_plain
    exif = Image.Exif()
    exif[0x112] = value
    profile = f"\nexif\n{len(exif.tobytes())}\n{exif.tobytes().hex()}"
    file = write(tmp_path, png_with_text("Raw profile type exif", profile, compressed=True))
    assert (read_plain_header(file) is not None) == is_plain


def test_orientation_after_the_pixels_of_a_png(tmp_path):
    turned = with_orientation(quadrants(), "PNG", 6)
    start = turned.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(turned[start : start + 4], "big")
    moved = turned[:start] + turned[end:-12] + turned[start:end] + turned[-12:]
    assert read_plain_header(write(tmp_path, moved)) is None


def test_other_text_of_a_png_is_not_decoded(tmp_path):
    file = write(tmp_path, png_with_text("Software", "camera"))
    assert read_plain_header(file) == PlainHeader(".png", 48, 32)


def test_jpeg_with_orientation_in_xmp_alone(tmp_path):
    file = write(tmp_path, encoded(quadrants(), "JPEG", xmp=XMP.format(8).encode()))
    assert read_plain_header(file) is None


def test_transparent_colour(tmp_path):
    rows = zlib.compress(b"\0" + bytes(3))
    file = write(tmp_path, png_bytes(1, 1, bit_depth=8, colour_type=2, rows=rows, chunks=[(b"tRNS", bytes(6))]))
    assert read_plain_header(file) is None


def test_png_of_1_bit(tmp_path):
    assert read_plain_header(write(tmp_path, encoded(quadrants().convert("1"), "PNG"))) is None


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"no picture", bytes(100)])
def test_files_without_a_readable_header(tmp_path, content):
    assert read_plain_header(write(tmp_path, content)) is None


def test_a_cut_photo_is_told_by_its_header_alone(tmp_path):
    """A photo of the table was read in full, and is unchanged since."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    assert read_plain_header(write(tmp_path, buffer.getvalue()[:2000])) == PlainHeader(".jpg", 600, 400)
