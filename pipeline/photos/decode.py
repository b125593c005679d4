"""One file -> one upright RGB image, or a `DecodeError` with the reason.

Everything here treats the file as hostile: only the decoders of `FORMATS` may run, the pixel count is
checked before a pixel is decoded, and whatever a decoder raises becomes a reason in words.
"""

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from pipeline.errors import DecodeError
from pipeline.records import Pixels

EXTENSIONS = frozenset(
    "jpg jpeg jpe jfif mpo png apng tif tiff bmp dib webp gif avif avifs jp2 j2k jpx ppm pgm pbm pnm tga".split()
)
FORMATS = "JPEG PNG TIFF BMP DIB WEBP GIF AVIF JPEG2000 PPM TGA HEIF".split()  # MPO comes with JPEG
HEIF_EXTENSIONS = frozenset({"heic", "heif"})
MAX_PIXELS = 178_000_000

# The values that each raw integer layout of Pillow can hold, where it is not 0..65535.
_INTEGER_RANGES = {
    "I;12": (0, 2**12 - 1),
    "I;16S": (-(2**15), 2**15 - 1),
    "I;16BS": (-(2**15), 2**15 - 1),
    "I;32S": (-(2**31), 2**31 - 1),
    "I;32BS": (-(2**31), 2**31 - 1),
    "I;32N": (0, 2**32 - 1),
    "I;32B": (0, 2**32 - 1),
}

# By EXIF orientation. ImageOps.exif_transpose also writes the EXIF data back, which fails on odd but harmless ones.
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
        rgb: (h, w, 3), upright. May be smaller than the file says where `draft_size` allowed it.
        width: upright pixels of the file.
        height: upright pixels of the file.
        note: what a reader should know ("first of 12 frames"), or None.
    """

    rgb: Pixels
    width: int
    height: int
    note: str | None


def extensions() -> frozenset[str]:
    """The lower-case file extensions that count as an image, HEIF's with the extra `heif` installed."""
    return EXTENSIONS | HEIF_EXTENSIONS if register_heif() else EXTENSIONS


def load_decoders() -> None:
    """Import every decoder that `decode` may need; Pillow would do so at the first photo that needs one."""
    Image.init()
    register_heif()


@cache
def register_heif() -> bool:
    """Let Pillow read HEIF where the extra `heif` is installed; says whether it can."""
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
        draft_size: (shorter side, longer side) in pixels that the caller needs at least. JPEGs are then
            decoded at the smallest of libjpeg's DCT scales (1/2, 1/4, 1/8) that is no smaller. None: exact.

    Raises:
        DecodeError: the file is empty, no image of a supported format, truncated, corrupt or too large.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image = _open(file, max_pixels)
            full_size = image.size
            value_range = _integer_range(image)
            if draft_size is not None and image.format in ("JPEG", "MPO"):
                _draft(image, draft_size)
            image.load()
            orientation = _orientation(image)
            turn = _TO_UPRIGHT.get(orientation)
            rgb = np.array(to_rgb(image if turn is None else image.transpose(turn), value_range))
        except DecodeError:
            raise
        except Exception as error:  # a decoder raises anything at all on a broken file
            raise DecodeError(_reason(error)) from error
        frames = _frame_count(image)
    width, height = full_size[::-1] if orientation in (5, 6, 7, 8) else full_size
    notes = [f"first of {frames} frames"] if frames > 1 else []
    notes += [" ".join(str(warning.message).split()) for warning in caught]
    return Photo(rgb, width, height, "; ".join(dict.fromkeys(notes)) or None)


def to_rgb(image: Image.Image, value_range: tuple[int, int] = (0, 2**16 - 1)) -> Image.Image:
    """Any mode -> RGB: integers scaled by `value_range`, floats by their own min..max, alpha laid on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _scale_to_8_bit(image, value_range).convert("RGB")
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _open(file: BinaryIO, max_pixels: int) -> Image.Image:
    load_decoders()
    try:
        image = Image.open(file, formats=_decoders())
    except UnidentifiedImageError:  # its own message holds a memory address
        empty = file.seek(0, 2) == 0
        raise DecodeError("empty file (0 bytes)" if empty else "not an image of a supported format") from None
    width, height = image.size
    if width * height > max_pixels:
        raise DecodeError(f"{width} x {height} pixels are more than max_pixels = {max_pixels}")
    if image.format == "PNG":  # its pixels have checksums, which Pillow checks only here
        image.verify()
        file.seek(0)
        image = Image.open(file, formats=["PNG"])
    return image


def _decoders() -> tuple[str, ...]:
    return tuple(name for name in FORMATS if name in Image.OPEN)  # builds of Pillow differ


def _draft(image: Image.Image, draft_size: tuple[int, int]) -> None:
    shorter, longer = draft_size
    scale = max(shorter / min(image.size), longer / max(image.size))
    if scale < 1:
        width, height = image.size
        image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, upright, where there is none or it can't be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # no reason to lose the photo
        warnings.warn(f"its EXIF data can't be read, so its orientation is unknown: {error}", stacklevel=2)
        return 1


def _integer_range(image: Image.Image) -> tuple[int, int]:
    """Black and white in the file's integers, by their type; asked before loading, which forgets the raw layout."""
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
    except Exception:  # the first frame is fine; a broken later one is no reason to lose it
        return 1


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    message = " ".join(str(error).split())
    return message if isinstance(error, OSError) and message else f"{type(error).__name__}: {message}"
