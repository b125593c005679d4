"""Pictures that Pillow holds in more than 8 bits: PNG, PGM, JPEG 2000 -> 8 bits."""

from dataclasses import dataclass
from typing import BinaryIO

import imagecodecs
import numpy as np
from PIL import Image, ImageFile

from pipeline.photos.pixel_range import (
    FEW_LEVELS,
    ValueRange,
    Values,
    range_of_png,
    range_of_white_level,
    scale_to_8_bit,
    warn_of_few_levels,
)
from pipeline.photos.png_chunks import read_significant_bits

_FULL = 2**16 - 1  # white of 16 bits


@dataclass(frozen=True)
class Depth:
    """The depth declared by a file, known only before its pixels are decoded.

    Attributes:
        largest: value scaled to 65535 by Pillow: the maximum of a PGM.
        png_bits: significant bits declared by a PNG of 16 bits; 16 without a declaration, 0 for any other picture.
    """

    largest: int = _FULL
    png_bits: int = 0


def is_deep(image: Image.Image) -> bool:
    """Tell whether a picture holds more than 8 bits, as Pillow does for greys alone."""
    return image.mode == "F" or image.mode.startswith("I")


def read_depth(image: Image.Image, file: BinaryIO) -> Depth:
    """Read the declared depth of an opened picture, before it is loaded; moves in the file."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return Depth()
    arguments = image.tile[0].args
    if image.format == "PNG" and str(arguments).endswith("16B"):
        return Depth(png_bits=read_significant_bits(file) or 16)
    if image.format == "PPM" and isinstance(arguments, tuple) and arguments[0] == "L":
        return Depth(largest=int(arguments[1]))
    return Depth()


def scale_deep(image: Image.Image, depth: Depth | None = None, white_level: float | None = None) -> Image.Image:
    """Scale a deep picture of greys to 8 bits, mode L: floats by their own range, integers by the declared one."""
    values = np.asarray(image)
    value_range: ValueRange | None
    if white_level and image.format == "PPM":
        largest = depth.largest if depth and image.mode != "F" else _FULL
        value_range = range_of_white_level(white_level).scale(_FULL / largest)
    elif white_level and image.format == "PNG":
        value_range = range_of_white_level(white_level)
    elif image.mode == "F":
        value_range = None
    else:
        value_range = range_of_png(values, depth.png_bits if depth and depth.png_bits else 16)
    return Image.fromarray(scale_to_8_bit(values, value_range))


def read_png_samples(file: BinaryIO) -> tuple[Values, int] | None:
    """Read a PNG of several 16-bit channels as stored, (height, width, channels), and its number of colours.

    None for any other PNG.
    """
    file.seek(0)
    values: Values = imagecodecs.png_decode(file.read())
    if values.dtype != np.uint16 or values.ndim != 3:
        return None
    return values, values.shape[2] - (values.shape[2] in (2, 4))  # the others hold alpha


def read_deep_colours(
    file: BinaryIO, image: Image.Image, depth: Depth, white_level: float | None
) -> Image.Image | None:
    """Read a PNG of several 16-bit channels by the range asked for or declared.

    None if Pillow's picture is right: it has the upper 8 bits, those of the full range.
    """
    if not depth.png_bits:
        return None
    if depth.png_bits == 16 and not white_level and np.count_nonzero(image.histogram()) >= 4 * FEW_LEVELS:
        return None  # enough grey levels, whatever the channel
    samples = read_png_samples(file)
    if samples is None:
        return None
    values, colours = samples
    asked = range_of_white_level(white_level) if white_level else range_of_png(values[..., :colours], depth.png_bits)
    if asked.white == _FULL:
        warn_of_few_levels(values[..., :colours], np.asarray(image)[..., :colours], asked)
        return None
    picture = scale_to_8_bit(values[..., :colours], asked)
    if colours < values.shape[2]:
        picture = np.concatenate([picture, (values[..., colours:] >> 8).astype(np.uint8)], axis=-1)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[picture.shape[2]]
    return Image.frombytes(mode, (picture.shape[1], picture.shape[0]), picture.tobytes())
