"""Damaged files of every format: one result each, no crash, no hang, and no mistake of ours among the reasons.

A seed is a case: `pytest -m fuzz -k 'damaged and 17'` tries it again.
"""

import io
import struct
import traceback
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import pipeline
from pipeline.errors import DecodeError
from pipeline.photos.decode import decode
from pipeline.photos.discover import discover
from pipeline.photos.load_photo import LoadSpec
from pipeline.photos.loader import PhotoLoader
from tests.helpers.image_files import encoded, frames, png_bytes, smooth_photo, tiff_bytes, with_orientation

SPEC = LoadSpec(ViTImageProcessorPil(size={"height": 16, "width": 16}), 16, 32, max_pixels=300_000)
OURS = str(Path(pipeline.__file__).parent)

# Numbers at the borders of types, where sizes, counts and offsets go wrong.
BORDERS = (0, 1, 2**7 - 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


@cache
def corpus():
    """Small files of every format and of the layouts with a reader of their own, by extension."""
    photo = smooth_photo(40, 30)
    files = [
        ("jpg", with_orientation(photo, "JPEG", 6)),
        ("jpg", encoded(photo, "JPEG", progressive=True)),
        ("jpg", encoded(photo.convert("CMYK"), "JPEG")),
        ("mpo", frames("MPO")),
        ("png", with_orientation(photo, "PNG", 3)),
        ("png", encoded(photo.quantize(16), "PNG", transparency=bytes(range(16)))),
        ("png", frames("PNG")),
        ("gif", frames("GIF")),
        ("webp", frames("WEBP", lossless=True)),
        ("webp", encoded(photo.convert("RGBA"), "WEBP")),
        ("bmp", encoded(photo, "BMP")),
        ("bmp", encoded(photo.convert("RGBA"), "BMP")),
        ("jp2", encoded(photo, "JPEG2000")),
        ("ppm", encoded(photo, "PPM")),
        ("pgm", b"P5 16 12 4095\n" + bytes(range(256)) + bytes(128)),
        ("tga", encoded(photo.convert("RGBA"), "TGA")),
        ("avif", encoded(photo, "AVIF")),
    ]
    return files + deep_pngs() + tiffs()


def deep_pngs():
    grey, colours = (np.arange(count, dtype=">u2").reshape(8, -1) * 16 for count in (64, 192))
    return [
        ("png", png_bytes(8, 8, bit_depth=16, colour_type=kind, rows=rows, chunks=[(b"sBIT", bits)]))
        for kind, rows, bits in (
            (0, b"".join(b"\0" + row.tobytes() for row in grey), b"\x0c"),
            (2, b"".join(b"\0" + row.tobytes() for row in colours), b"\x0c\x0c\x0c"),
        )
    ]


def tiffs():
    values = np.arange(48 * 32).reshape(32, 48)
    files = [("tif", encoded(smooth_photo(40, 30), "TIFF")), ("tif", frames("TIFF"))]
    files += [("tif", tiff_bytes(values.astype(dtype), big_endian=big)) for dtype, big in (("u2", True), ("f8", False))]
    for options in (
        {"compression": "lzw", "predictor": True},
        {"tile": (16, 16), "compression": "zlib"},
        {"bigtiff": True},
        {"subfiletype": 1},
    ):
        file = io.BytesIO()
        tifffile.imwrite(file, values.astype(np.uint16), metadata=None, **options)
        files.append(("tif", file.getvalue()))
    planes = io.BytesIO()
    tifffile.imwrite(planes, np.stack([values.astype("f4")] * 4), photometric="rgb", planarconfig="separate")
    return [*files, ("tif", planes.getvalue())]


def damage(data, random):
    """Change some bytes, lose or repeat a stretch, or put a number of the border cases somewhere."""
    data = bytearray(data)
    for _ in range(random.integers(1, 6)):
        reach = len(data) if random.random() < 0.4 else min(len(data), 200)  # headers more often
        place = int(random.integers(0, reach))
        length = int(random.integers(1, 40))
        match random.integers(6):
            case 0:
                data[place] = random.integers(256)
            case 1:
                order = "<" if random.random() < 0.5 else ">"
                size = "H" if random.random() < 0.5 else "I"
                number = int(random.choice(BORDERS)) % 2 ** (8 * struct.calcsize(size))
                data[place : place + struct.calcsize(size)] = struct.pack(order + size, number)
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + length]
            case 4:
                data[place : place + length] = bytes(length)
            case 5 if random.random() < 0.3:
                del data[place:]
        if not data:
            break
    return bytes(data)


def write_damaged(folder, seed, count):
    random = np.random.default_rng(seed)
    for number in range(count):
        extension, data = corpus()[number % len(corpus())]
        (folder / f"{number:05d}.{extension}").write_bytes(damage(data, random))


def check_folder(folder):
    """Load every file of a folder in worker processes; look into the failures in this process."""
    refs = discover(folder).refs
    with PhotoLoader(SPEC, num_workers=2, decode_seconds=30) as loader:
        batches = list(loader.batches(refs, 50, lambda: False))
    results = [each for batch in batches for each in (*batch.samples, *batch.failures)]
    assert sorted(each.ref.path for each in results) == [ref.path for ref in refs]
    for batch in batches:
        for sample in batch.samples:
            assert sample.pixels.shape == (3, 16, 16)
            assert sample.width * sample.height <= SPEC.max_pixels
        for failure in batch.failures:
            assert failure.content_hash, f"{failure.ref.path}: {failure.reason}"
            assert "crashed" not in failure.reason, failure.ref.path
            assert "\n" not in failure.reason
            check_origin(Path(failure.ref.file))


def check_origin(file):
    """An error raised in a decoder is a reason; one raised by code of this project would be a mistake."""
    with file.open("rb") as stream, pytest.raises(DecodeError) as caught:
        decode(stream, max_pixels=SPEC.max_pixels)
    if cause := caught.value.__cause__:
        place = traceback.extract_tb(cause.__traceback__)[-1]
        assert not place.filename.startswith(OURS), f"{file.name}: {cause!r} in {place.filename}:{place.lineno}"


def test_undamaged_files_are_read():
    for extension, data in corpus():
        assert decode(io.BytesIO(data)).rgb.size, extension


@pytest.fixture(autouse=True)
def no_other_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as in the workers


def test_some_damaged_files(tmp_path):
    write_damaged(tmp_path, seed=0, count=600)
    check_folder(tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(1, 41))
def test_damaged_files(seed, tmp_path):
    write_damaged(tmp_path, seed, count=2000)
    check_folder(tmp_path)
