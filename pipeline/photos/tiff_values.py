"""Pages of TIFF files beyond Pillow's layouts, by tifffile -> 8 bits."""

import re
import warnings
from typing import Any

import numpy as np
from PIL import Image
from tifffile import TiffPage

from pipeline.photos.pixel_range import (
    ValueRange,
    Values,
    is_usable,
    range_of_type,
    range_of_white_level,
    scale_to_8_bit,
    warn_of_few_levels,
)
from pipeline.photos.tiff_pages import RGB, WHITE_IS_ZERO, check_layout

# ExtraSamples
_PREMULTIPLIED_ALPHA, _ALPHA = 1, 2
# tags with a range of values
_MIN_MAX, _SMIN_SMAX, _GDAL_NODATA = (280, 281), (340, 341), 42113


def read_page(page: TiffPage, white_level: float | None) -> Image.Image:
    """Decode a page of greys or RGB, with any number of further samples, to 8 bits.

    Returns:
        An image of mode L, RGB, LA, La, RGBA or RGBa.

    Raises:
        DecodeError: names a layout that is not supported, or the damage.
    """
    values = read_samples(page)
    colours = count_colours(page)
    alpha_kind = find_alpha(page)
    picture = _scale_colours(values[..., :colours], page, white_level)
    if not alpha_kind:
        return Image.fromarray(picture[..., 0] if colours == 1 else picture)
    alpha = _scale_alpha(values[..., colours], page)
    mode = ("LA" if colours == 1 else "RGBA") if alpha_kind == _ALPHA else ("La" if colours == 1 else "RGBa")
    data = np.concatenate([picture, alpha[..., None]], axis=-1)
    return Image.frombytes(mode, (data.shape[1], data.shape[0]), data.tobytes())


def read_samples(page: TiffPage) -> Values:
    """Decode a page of greys or RGB as stored: (height, width, samples).

    Raises:
        DecodeError: names a layout that is not supported, or the damage.
    """
    check_layout(page)
    values = np.asarray(page.asarray(maxworkers=1)).reshape(page.shaped)
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        return np.moveaxis(values[:, 0, :, :, 0], 0, -1)
    samples: Values = values[0, 0]
    return samples


def count_colours(page: TiffPage) -> int:
    """Return the number of samples with colours, the first ones of a pixel."""
    return 3 if page.photometric == RGB else 1


def find_alpha(page: TiffPage) -> int:
    """Return the kind of the sample after the colours: alpha, premultiplied alpha, or 0. Notes samples left out."""
    further = page.samplesperpixel - count_colours(page)
    kinds = page.extrasamples
    kind = int(kinds[0]) if kinds else 0
    is_alpha = further > 0 and kind in (_ALPHA, _PREMULTIPLIED_ALPHA)
    left_out = further - int(is_alpha)
    if left_out:
        warnings.warn(f"{left_out} of its {page.samplesperpixel} samples a pixel left out", stacklevel=2)
    return kind if is_alpha else 0


def _scale_colours(values: Values, page: TiffPage, white_level: float | None) -> Values:
    """Scale (height, width, colours) to 8 bits by the range asked for, declared or of the type."""
    value_range = None
    if values.dtype.itemsize > 1:
        value_range = range_of_white_level(white_level) if white_level else _declared_range(page)
    if value_range is None and values.dtype.kind != "f":
        value_range = range_of_type(values.dtype, int(page.bitspersample))
    nodata = _find_nodata(values, page)
    full = range_of_type(np.dtype(np.uint16))
    if page.photometric == RGB and value_range == full and values.dtype == np.uint16 and nodata is None:
        upper = (values >> 8).astype(np.uint8)  # as Pillow does for other files of three colours
        warn_of_few_levels(values, upper, full)
        return upper
    if page.photometric == WHITE_IS_ZERO and value_range is not None:
        value_range = value_range.invert()
    return scale_to_8_bit(values, value_range, nodata)


def _scale_alpha(values: Values, page: TiffPage) -> Values:
    if values.dtype.kind == "f":
        return scale_to_8_bit(values, ValueRange(0.0, 1.0))
    if values.dtype == np.uint16 and page.bitspersample == 16:
        return (values >> 8).astype(np.uint8)
    return scale_to_8_bit(values, range_of_type(values.dtype, int(page.bitspersample)))


def _declared_range(page: TiffPage) -> ValueRange | None:
    """Read SMinSampleValue and SMaxSampleValue, else MinSampleValue and MaxSampleValue."""
    assert page.dtype is not None
    by_type = range_of_type(page.dtype, int(page.bitspersample)) if page.dtype.kind != "f" else None
    for low_tag, high_tag in (_SMIN_SMAX, _MIN_MAX):
        lows, highs = _read_numbers(page, low_tag), _read_numbers(page, high_tag)
        if not highs:
            continue
        low = min(lows) if lows else (by_type.black if by_type else 0.0)
        if is_usable(low, max(highs)):
            return ValueRange(low, max(highs), "declared by the file", declared=True)
    return None


def _read_numbers(page: TiffPage, tag: int) -> list[float]:
    value = page.tags.valueof(tag)
    values = value if isinstance(value, tuple | list | np.ndarray) else [value]
    return [float(number) for number in values if isinstance(number, int | float | np.number)]


def _find_nodata(values: Values, page: TiffPage) -> Any:
    """Return where all colours of a pixel hold the value that means "no data" to GDAL, or None."""
    text = page.tags.valueof(_GDAL_NODATA)
    if not isinstance(text, str) or not re.match(r"\s*[-+]?[\d.]", text):
        return None
    try:
        nodata = float(text.strip("\0 "))
    except ValueError:
        return None
    if values.dtype.kind == "f":
        nodata = float(values.dtype.type(nodata))  # as the file could store it
    marked = (values == nodata).all(axis=-1, keepdims=True)
    return np.broadcast_to(marked, values.shape) if marked.any() else None
