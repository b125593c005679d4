"""One file -> one upright RGB image, or a `DecodeError` with the reason.

Files are treated as hostile: only tifffile and the decoders of `FORMATS` may run, the pixel count is checked before a
pixel is decoded, and any exception of a decoder becomes a reason in words.
"""

import errno
import warnings
from dataclasses import dataclass
from functools import cache, partial
from typing import BinaryIO

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.errors import DecodeError, UnjudgedError, one_line
from pipeline.photos.alpha import flatten
from pipeline.photos.depth import is_deep, scale_deep
from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.pillow_reader import Picture, Request, read_with_pillow
from pipeline.photos.png_chunks import is_png, leave_out_large_text
from pipeline.photos.tiff_pages import count_pages, find_page, is_tiff, read_orientation
from pipeline.photos.tiff_values import read_page
from pipeline.records import Pixels

EXTENSIONS = frozenset(
    "jpg jpeg jpe jfif mpo png apng tif tiff bmp dib webp gif avif avifs jp2 j2k jpx ppm pgm pbm pnm tga".split()
)
HEIF_EXTENSIONS = frozenset({"heic", "heif"})

# Functions of imagecodecs used by tifffile and for PNG; one of each of its libraries.
_CODECS = "png_decode lzw_decode zlib_decode deflate_decode zstd_decode lzma_decode jpeg_decode webp_decode".split()

# Versions of the rules from a file to pixels, by extension. A new one processes the photos concerned once more.
_RULES_VERSIONS = dict.fromkeys("tif tiff bmp dib tga".split(), 2)

# By EXIF orientation. ImageOps.exif_transpose also writes the EXIF data back, and fails on odd but harmless data.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)  # orientations with width and height exchanged


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        rgb: (h, w, 3), upright. Smaller than the file's size if `draft_size` allows it.
        width: upright pixels of the file.
        height: upright pixels of the file.
        note: a remark for readers of the table ("first of 12 frames"), or None.
    """

    rgb: Pixels
    width: int
    height: int
    note: str | None


def extensions() -> frozenset[str]:
    """Return the file extensions of images in lower case, with HEIF's if the extra `heif` is installed."""
    return EXTENSIONS | HEIF_EXTENSIONS if register_heif() else EXTENSIONS


def load_decoders() -> None:
    """Import every decoder for `decode`; Pillow and imagecodecs would import one at its first photo."""
    Image.init()
    for codec in _CODECS:
        getattr(imagecodecs, codec)
    register_heif()


@cache
def register_heif() -> bool:
    """Let Pillow read HEIF if the extra `heif` is installed; return whether it is."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def decode(
    file: BinaryIO,
    *,
    max_pixels: int = MAX_PIXELS,
    draft_size: tuple[int, int] | None = None,
    white_level: float | None = None,
    draft_up_to: int | None = None,
) -> Photo:
    """Decode an image file to upright RGB: its first frame, or the first full page of a TIFF.

    Args:
        file: open for reading; read from its beginning.
        max_pixels: refuse an image with more, before decoding it.
        draft_size: least (shorter side, longer side) in pixels. JPEGs are decoded at the smallest sufficient one of
            libjpeg's DCT scales (1/2, 1/4, 1/8). None: exact.
        white_level: value shown as white, for TIFF, PNG and PGM deeper than 8 bits. None: as declared by the file,
            else the largest value of its type.
        draft_up_to: decode photos with a longer side of more pixels in full, whatever the draft; None: no limit.

    Raises:
        DecodeError: the file is empty, not an image of a supported format, truncated, corrupt or too large.
        UnjudgedError: the machine failed: no memory, an unreadable disk.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            picture = _read_picture(file, Request(max_pixels, draft_size, white_level, draft_up_to))
            turn = _TO_UPRIGHT.get(picture.orientation)
            rgb = np.array(picture.rgb if turn is None else picture.rgb.transpose(turn))
        except DecodeError:
            raise
        except Exception as error:  # a decoder may raise anything on a broken file
            kind = UnjudgedError if _is_fault_of_machine(error) else DecodeError
            raise kind(_describe_error(error)) from error
    width, height = picture.size[::-1] if picture.orientation in _TURNED else picture.size
    notes = [_describe_place(picture), *(one_line(warning.message) for warning in caught)]
    return Photo(rgb, width, height, "; ".join(dict.fromkeys(filter(None, notes))) or None)


def rules_version(path: str) -> int:
    """Return the version of the rules for the pixels of a file, by its extension."""
    return _RULES_VERSIONS.get(path.rpartition(".")[2].lower(), 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16-bit integers by their full range, floats by their own, alpha laid on white."""
    return flatten(scale_deep(image) if is_deep(image) else image)


def _read_picture(file: BinaryIO, request: Request) -> Picture:
    load_decoders()
    try:
        return _read_tiff(file, request) if is_tiff(file) else read_with_pillow(file, request)
    except ValueError:
        smaller = leave_out_large_text(file) if is_png(file) else None
        if smaller is None:
            raise
    warnings.warn("its text or colour profile is too large to read, and was left out", stacklevel=2)
    return read_with_pillow(smaller, request)


def _read_tiff(file: BinaryIO, request: Request) -> Picture:
    """Read the first full page of a TIFF with Pillow if it can, else with tifffile."""
    page = find_page(file)
    if page is None:
        return read_with_pillow(file, request)
    if not page.needs_tifffile:
        try:
            return read_with_pillow(file, request, page.index)
        except UnidentifiedImageError:
            file.seek(0)
    request.check_pixels(page.size)
    rgb = flatten(read_page(page.page, request.white_level))
    return Picture(rgb, page.size, read_orientation(page), page.index, partial(count_pages, page))


def _describe_place(picture: Picture) -> str | None:
    frames = picture.count_frames()
    if picture.index:
        return f"page {picture.index + 1} of {frames}, the first that is no reduced copy and no mask"
    return f"first of {frames} frames" if frames > 1 else None


def _is_fault_of_machine(error: Exception) -> bool:
    """Tell whether an exception says nothing about the file's bytes."""
    is_fault_of_disk = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)  # EINVAL: an odd seek
    return is_fault_of_disk or isinstance(error, MemoryError)


def _describe_error(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a supported format"
    if isinstance(error, OSError) and error.strerror:
        return f"can't be read: {error.strerror}"
    message = one_line(error)
    return message if isinstance(error, OSError) and message else f"{type(error).__name__}: {message}"
