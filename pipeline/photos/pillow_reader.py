"""Pictures read by Pillow, by the decoders of `FORMATS` alone."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from pipeline.errors import DecodeError
from pipeline.photos.alpha import declares_alpha, flatten
from pipeline.photos.depth import is_deep, read_deep_colours, read_depth, scale_deep

FORMATS = "JPEG PNG TIFF BMP DIB WEBP GIF AVIF JPEG2000 PPM TGA HEIF".split()  # MPO comes with JPEG

_MOST_BYTES = 2**29  # of a WebP, AVIF or HEIF: their decoders read whole files


@dataclass(frozen=True)
class Request:
    """The settings of a decode; see `pipeline.photos.decode.decode`."""

    max_pixels: int
    draft_size: tuple[int, int] | None = None
    white_level: float | None = None
    draft_up_to: int | None = None

    def check_pixels(self, size: tuple[int, int]) -> None:
        """Refuse a picture with too many pixels."""
        width, height = size
        if width * height > self.max_pixels:
            raise DecodeError(f"{width} x {height} pixels are more than max_pixels = {self.max_pixels}")


@dataclass(frozen=True)
class Picture:
    """The stored picture of a file, in RGB and not yet upright.

    Attributes:
        rgb: its pixels, perhaps at a reduced scale.
        size: width and height as stored, in full.
        orientation: by EXIF; 1 is upright.
        index: number of its frame or page in the file, from 0.
        count_frames: counts the frames or pages of the file; only after the last use of `rgb`, since it moves on to
            other frames.
    """

    rgb: Image.Image
    size: tuple[int, int]
    orientation: int
    index: int
    count_frames: Callable[[], int]


def read_with_pillow(file: BinaryIO, request: Request, page: int = 0) -> Picture:
    """Read the first frame of a file, or a page of a TIFF.

    Raises:
        UnidentifiedImageError: the layout of a TIFF is unknown to Pillow.
        Exception: of any kind, from decoders.
    """
    _refuse_too_many_bytes(file)
    image = _open_checked(file, request)
    if page:
        _seek_page(image, page)
        request.check_pixels(image.size)
    size, depth = image.size, read_depth(image, file)
    is_alpha = declares_alpha(image, file)
    may_draft = request.draft_up_to is None or max(size) <= request.draft_up_to
    if request.draft_size is not None and may_draft and image.format in ("JPEG", "MPO"):
        _request_draft(image, request.draft_size)
    image.load()
    orientation = _read_orientation(image)
    if is_deep(image) and image.format == "TIFF":  # the range of its values is among its tags
        raise DecodeError("a damaged TIFF: its tags can't be read")
    if is_deep(image):
        flat = scale_deep(image, depth, request.white_level)
    else:
        flat = read_deep_colours(file, image, depth, request.white_level) or image
    return Picture(flatten(flat, is_declared=is_alpha), size, orientation, page, partial(_count_frames, image))


def _refuse_too_many_bytes(file: BinaryIO) -> None:
    """Refuse a large file of a format read into memory whole, whatever the size of its picture."""
    file.seek(0)
    start = file.read(12)
    if start[4:8] == b"ftyp" or (start[:4] == b"RIFF" and start[8:] == b"WEBP"):
        size = file.seek(0, 2)
        if size > _MOST_BYTES:
            raise DecodeError(f"{size:,} bytes; its format is read into memory whole, up to {_MOST_BYTES:,} bytes")
    file.seek(0)


def _open_checked(file: BinaryIO, request: Request) -> Image.Image:
    try:
        image = Image.open(file, formats=_available_decoders())
    except UnidentifiedImageError:  # its own message holds a memory address
        if file.seek(0, 2) == 0:
            raise DecodeError("empty file (0 bytes)") from None
        raise
    request.check_pixels(image.size)
    if image.format == "PNG":  # Pillow checks the checksums of its pixels only here
        image.verify()
        file.seek(0)
        image = Image.open(file, formats=["PNG"])
    return image


def _available_decoders() -> tuple[str, ...]:
    return tuple(name for name in FORMATS if name in Image.OPEN)  # builds of Pillow differ


def _seek_page(image: Image.Image, page: int) -> None:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        raise DecodeError("not a TIFF, though it starts as one")
    try:
        image.seek(page)
    except SyntaxError as error:  # as Pillow says it of the first page
        raise UnidentifiedImageError(str(error)) from error


def _request_draft(image: Image.Image, draft_size: tuple[int, int]) -> None:
    shorter, longer = draft_size
    scale = max(shorter / min(image.size), longer / max(image.size))
    if scale < 1:
        width, height = image.size
        image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, if there is none or it can't be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # not worth losing the photo
        warnings.warn(f"its EXIF data can't be read, so its orientation is unknown: {error}", stacklevel=2)
        return 1


def _count_frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame is fine, and worth keeping without the others
        return 1
