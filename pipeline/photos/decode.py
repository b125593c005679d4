"""One file -> one upright RGB image, or a `DecodeError` with the reason.

Files are treated as hostile: only the decoders of `FORMATS` may run, the pixel count is checked before a pixel is
decoded, and any exception of a decoder becomes a reason in words.
"""

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from pipeline.errors import DecodeError, one_line
from pipeline.records import Pixels

EXTENSIONS = frozenset(
    "jpg jpeg jpe jfif mpo png apng tif tiff bmp dib webp gif avif avifs jp2 j2k jpx ppm pgm pbm pnm tga".split()
)
FORMATS = "JPEG PNG TIFF BMP DIB WEBP GIF AVIF JPEG2000 PPM TGA HEIF".split()  # MPO comes with JPEG
HEIF_EXTENSIONS = frozenset({"heic", "heif"})
MAX_PIXELS = 178_000_000

# The range of values of raw integer layouts in Pillow, if it is not 0..65535.
_INTEGER_RANGES = {
    "I;12": (0, 2**12 - 1),
    "I;16S": (-(2**15), 2**15 - 1),
    "I;16BS": (-(2**15), 2**15 - 1),
    "I;32S": (-(2**31), 2**31 - 1),
    "I;32BS": (-(2**31), 2**31 - 1),
    "I;32N": (0, 2**32 - 1),
    "I;32B": (0, 2**32 - 1),
}

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
    """Import every decoder for `decode`; Pillow would import one at its first photo."""
    Image.init()
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
) -> Photo:
    """Decode the first frame of an image file to upright RGB.

    Args:
        file: open for reading, at its beginning.
        max_pixels: refuse an image with more, before decoding it.
        draft_size: least (shorter side, longer side) in pixels. JPEGs are decoded at the smallest sufficient one of
            libjpeg's DCT scales (1/2, 1/4, 1/8). None: exact.

    Raises:
        DecodeError: the file is empty, not an image of a supported format, truncated, corrupt or too large.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image = _open_checked(file, max_pixels)
            full_size = image.size
            value_range = _integer_range(image)
            if draft_size is not None and image.format in ("JPEG", "MPO"):
                _request_draft(image, draft_size)
            image.load()
            orientation = _read_orientation(image)
            turn = _TO_UPRIGHT.get(orientation)
            rgb = np.array(to_rgb(image if turn is None else image.transpose(turn), value_range))
        except DecodeError:
            raise
        except Exception as error:  # a decoder may raise anything on a broken file
            raise DecodeError(_describe_error(error)) from error
        frames = _frame_count(image)
    width, height = full_size[::-1] if orientation in (5, 6, 7, 8) else full_size
    notes = [f"first of {frames} frames"] if frames > 1 else []
    notes += [one_line(warning.message) for warning in caught]
    return Photo(rgb, width, height, "; ".join(dict.fromkeys(notes)) or None)


def to_rgb(image: Image.Image, value_range: tuple[int, int] = (0, 2**16 - 1)) -> Image.Image:
    """Convert any mode to RGB: integers scaled by `value_range`, floats by their own min..max, alpha laid on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _scale_to_8_bit(image, value_range).convert("RGB")
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _open_checked(file: BinaryIO, max_pixels: int) -> Image.Image:
    load_decoders()
    try:
        image = Image.open(file, formats=_available_decoders())
    except UnidentifiedImageError:  # its own message holds a memory address
        empty = file.seek(0, 2) == 0
        raise DecodeError("empty file (0 bytes)" if empty else "not an image of a supported format") from None
    width, height = image.size
    if width * height > max_pixels:
        raise DecodeError(f"{width} x {height} pixels are more than max_pixels = {max_pixels}")
    if image.format == "PNG":  # Pillow checks the checksums of its pixels only here
        image.verify()
        file.seek(0)
        image = Image.open(file, formats=["PNG"])
    return image


def _available_decoders() -> tuple[str, ...]:
    return tuple(name for name in FORMATS if name in Image.OPEN)  # builds of Pillow differ


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


def _integer_range(image: Image.Image) -> tuple[int, int]:
    """Return black and white in the file's integers, by their type; before loading, which drops the raw layout."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return (0, 2**16 - 1)
    arguments = image.tile[0].args
    raw_mode = arguments[0] if isinstance(arguments, tuple) else arguments
    black, white = _INTEGER_RANGES.get(str(raw_mode), (0, 2**16 - 1))
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    white_is_zero = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0  # Pillow heeds it up to 8 bits
    return (white, black) if white_is_zero else (black, white)


def _scale_to_8_bit(image: Image.Image, value_range: tuple[int, int]) -> Image.Image:
    values = np.asarray(image).astype(np.float64)  # (height, width)
    if image.mode == "F":
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    else:
        low, high = value_range
        if high == 2**32 - 1:  # Pillow holds unsigned 32-bit values in a signed mode
            values = values % 2**32
    span = (high - low) or 1
    return Image.fromarray(np.clip((values - low) / span * 255 + 0.5, 0, 255).astype(np.uint8))


def _frame_count(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame is fine, and worth keeping without the others
        return 1


def _describe_error(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    message = one_line(error)
    return message if isinstance(error, OSError) and message else f"{type(error).__name__}: {message}"
