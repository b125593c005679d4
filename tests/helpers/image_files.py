"""Pictures whose every part can be recognised, and image files that Pillow would not write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

QUADRANTS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))  # top left, top right, bottom left, bottom right


def quadrants(width=48, height=32):
    """Red, green, blue and yellow quarters: tells every one of the eight orientations."""
    pixels = np.empty((height, width, 3), np.uint8)
    for index, colour in enumerate(QUADRANTS):
        rows = slice(0, height // 2) if index < 2 else slice(height // 2, height)
        columns = slice(0, width // 2) if index % 2 == 0 else slice(width // 2, width)
        pixels[rows, columns] = colour
    return Image.fromarray(pixels)


def quarter_colours(image):
    """The colours in the middle of the four quarters, in the order of `QUADRANTS`."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    middles = [(height // 4, width // 4), (height // 4, width * 3 // 4)]
    middles += [(height * 3 // 4, width // 4), (height * 3 // 4, width * 3 // 4)]
    return [tuple(pixels[middle]) for middle in middles]


def looks_like_quadrants(image, tolerance=12):
    """Whether the four quarters have their colours, within what lossy formats change."""
    return np.abs(np.array(quarter_colours(image)) - QUADRANTS).max() <= tolerance


def smooth_photo(width, height, seed=0):
    """Soft shapes and shading, as most of a real photo is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, file_format, **options):
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def frames(file_format, count=3, **options):
    """A file of several frames: red, green, blue."""
    pictures = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")[:count]]
    return encoded(pictures[0], file_format, save_all=True, append_images=pictures[1:], **options)


def with_orientation(image, file_format, orientation, **options):
    """A file that shows `image` once its EXIF orientation is applied."""
    stored = image if _TO_STORED[orientation] is None else image.transpose(_TO_STORED[orientation])
    exif = Image.Exif()
    exif[0x112] = orientation
    return encoded(stored, file_format, exif=exif, **options)


_TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def png_bytes(width, height, *, bit_depth, colour_type, rows, chunks=()):
    """A PNG from its filtered rows; `chunks` are pairs (type, data) before the pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0))
    middle = b"".join(chunk(kind, data) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def png_bomb(width, height):
    """A valid black-and-white PNG: some 1,000 times smaller than its pixels at one bit each."""
    packed = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    shell = png_bytes(width, height, bit_depth=1, colour_type=0, rows=b"")
    empty = zlib.compress(b"", 9)
    before, after = shell.split(struct.pack(">I", len(empty)) + b"IDAT")
    chunk = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    return before + chunk + after[len(empty) + 4 :]


def tiff_bytes(values, *, big_endian=False, photometric=1):
    """An uncompressed TIFF of one channel, of any integer or float type."""
    order = ">" if big_endian else "<"
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width = values.shape
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    short, long = 3, 4
    tags = [
        (256, long, width),
        (257, long, height),
        (258, short, values.dtype.itemsize * 8),
        (259, short, 1),  # not compressed
        (262, short, photometric),
        (273, long, None),  # where the pixels are
        (277, short, 1),
        (278, long, height),
        (279, long, len(data)),
        (339, short, sample_format),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    out = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, kind, value in tags:
        value = start if value is None else value
        out += struct.pack(f"{order}HHI", tag, kind, 1)
        out += struct.pack(f"{order}I", value) if kind == long else struct.pack(f"{order}HH", value, 0)
    return out + struct.pack(f"{order}I", 0) + data
