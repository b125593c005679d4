"""PNG files with more text than a decoder takes."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipeline.errors import DecodeError
from pipeline.photos.decode import decode
from pipeline.photos.png_chunks import leave_out_large_text, list_chunks
from tests.helpers.image_files import encoded, looks_like_quadrants, png_bomb, quadrants, with_orientation

NOTE = "its text or colour profile is too large to read, and was left out"


def png_with(*chunks, data=None, at_end=False):
    """A PNG with further chunks (type, data) before its pixels, or behind them."""
    data = encoded(quadrants(), "PNG") if data is None else data
    place = len(data) - 12 if at_end else 33
    packed = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return data[:place] + packed + data[place:]


def text_of(kind, size):
    """A text chunk that unpacks to `size` bytes."""
    if kind == b"tEXt":
        return kind, b"workflow\0" + b"x" * size
    packed = zlib.compress(b"x" * size)
    return kind, {
        b"zTXt": b"workflow\0\0" + packed,
        b"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + packed,
        b"iCCP": b"profile\0\0" + packed,
    }[kind]


@pytest.mark.parametrize("at_end", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_packed_text_of_megabytes(kind, at_end):
    photo = decode(io.BytesIO(png_with(text_of(kind, 5_000_000), at_end=at_end)))
    assert looks_like_quadrants(Image.fromarray(photo.rgb), tolerance=0)
    assert photo.note in (NOTE, None)


def test_many_texts_of_moderate_size():
    chunks = [text_of(b"zTXt", 1_000_000)] * 70
    photo = decode(io.BytesIO(png_with(*chunks)))
    assert looks_like_quadrants(Image.fromarray(photo.rgb), tolerance=0)
    assert photo.note == NOTE


def test_plain_text_of_megabytes_alone_is_no_problem():
    assert decode(io.BytesIO(png_with(text_of(b"tEXt", 5_000_000)))).note is None


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_beside_large_text(orientation):
    data = png_with(text_of(b"zTXt", 3_000_000), data=with_orientation(quadrants(), "PNG", orientation))
    assert looks_like_quadrants(Image.fromarray(decode(io.BytesIO(data)).rgb), tolerance=0)


def test_damage_beside_large_text_is_still_noticed():
    data = bytearray(png_with(text_of(b"zTXt", 3_000_000)))
    data[-30] ^= 1
    with pytest.raises(DecodeError):
        decode(io.BytesIO(bytes(data)))


def test_bomb_beside_large_text_is_still_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as in the workers
    data = png_with(text_of(b"zTXt", 3_000_000), data=png_bomb(15_811, 15_811))
    with pytest.raises(DecodeError, match="max_pixels"):
        decode(io.BytesIO(data))


def test_text_is_cut_out_and_nothing_else():
    original = encoded(quadrants(), "PNG")
    info = PngImagePlugin.PngInfo()
    info.add_text("title", "kept")
    with_title = encoded(quadrants(), "PNG", pnginfo=info)
    for data in (original, with_title):
        smaller = leave_out_large_text(io.BytesIO(png_with(text_of(b"zTXt", 2_000_000), data=data)))
        assert smaller.read() == data
        smaller.seek(-12, os.SEEK_END)
        assert smaller.read() == data[-12:]
        smaller.seek(20)
        assert smaller.read(40) == data[20:60]
        assert smaller.tell() == 60
    assert leave_out_large_text(io.BytesIO(with_title)) is None


@pytest.mark.parametrize("seed", range(20))
def test_chunks_of_damaged_files_come_to_an_end(seed):
    random = np.random.default_rng(seed)
    data = bytearray(png_with(text_of(b"iTXt", 1000), text_of(b"zTXt", 1000)))
    for place in random.integers(8, len(data), 8):
        data[place] = random.integers(256)
    assert len(list(list_chunks(io.BytesIO(data)))) <= len(data) // 12
    leave_out_large_text(io.BytesIO(data))
