"""Telling from a file's header whether all readers agree on its pixels, with or without a look at its EXIF data."""

import struct
import warnings
from dataclasses import dataclass
from typing import BinaryIO

from PIL import ExifTags, Image

from pipeline.photos.png_chunks import PNG_START, Chunk, list_chunks

_JPEG_START = b"\xff\xd8\xff"
_PNG_GREY, _PNG_RGB = 0, 2
_PNG_SPECIAL = {b"tRNS", b"acTL"}  # a transparent colour, several frames
_PNG_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_TEXT_WITH_ORIENTATION = (b"Raw profile type exif", b"XML:com.adobe.xmp")


@dataclass(frozen=True)
class PlainHeader:
    """The header of an upright JPEG or PNG of 8 bits, RGB or grey.

    Attributes:
        extension: with its dot.
        width, height: pixels.
    """

    extension: str
    width: int
    height: int


def read_plain_header(file: str) -> PlainHeader | None:
    """Read the header of a file; None if it is not such a picture, or can't be read as one.

    Raises:
        OSError: the file can't be read.
    """
    with open(file, "rb") as stream:
        start = stream.read(len(PNG_START))
        if start.startswith(_JPEG_START):
            return _read_jpeg(stream)
        return _read_png(stream) if start == PNG_START else None


def _read_jpeg(stream: BinaryIO) -> PlainHeader | None:
    image = _open_upright(stream, "JPEG")
    if image is None or image.mode not in ("RGB", "L"):
        return None
    return PlainHeader(".jpg", *image.size)


def _read_png(stream: BinaryIO) -> PlainHeader | None:
    stream.seek(len(PNG_START) + 8)
    header = stream.read(10)
    if len(header) < 10:
        return None
    width, height, bits, colours = struct.unpack(">IIBB", header)
    if bits != 8 or colours not in (_PNG_GREY, _PNG_RGB):
        return None
    for chunk in list_chunks(stream):
        if chunk.kind in _PNG_SPECIAL:
            return None
        if _may_hold_orientation(stream, chunk) and _open_upright(stream, "PNG") is None:
            return None
    return PlainHeader(".png", width, height)


def _may_hold_orientation(stream: BinaryIO, chunk: Chunk) -> bool:
    if chunk.kind == b"eXIf":
        return True
    if chunk.kind not in _PNG_TEXT:
        return False
    stream.seek(chunk.start + 8)
    return stream.read(max(map(len, _TEXT_WITH_ORIENTATION))).startswith(_TEXT_WITH_ORIENTATION)


def _open_upright(stream: BinaryIO, file_format: str) -> Image.Image | None:
    """Open a picture; None if it has an orientation, or Pillow can't say."""
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(stream, formats=[file_format])
            return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else None
        except Exception:  # a decoder may raise anything on a broken file
            return None
