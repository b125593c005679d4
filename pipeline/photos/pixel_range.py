"""Values deeper than 8 bits -> 8 bits, by a range that is the same for all photos of a camera.

Black and white come from the setting `white_level`, else from the file's own declaration, else from the type of its
values. Only floats without a declaration are scaled by the photo's own smallest and largest value.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.records import Pixels

Values = npt.NDArray[Any]

FEW_LEVELS = 32
_SETTING = "the setting white_level"
_COUNTED_VALUES = 2**20
_CHUNK_VALUES = 2**22  # values scaled at a time: a copy in float64 of a whole photo would be eight times its size


@dataclass(frozen=True)
class ValueRange:
    """Values shown as black and as white.

    Attributes:
        black: may be more than `white`: then dark and bright are exchanged.
        white: shown as 255.
        source: the origin of the range, for the note.
        declared: by the file, which may be wrong.
    """

    black: float
    white: float
    source: str = "the range of its type"
    declared: bool = False

    def invert(self) -> "ValueRange":
        """Exchange black and white."""
        return ValueRange(self.white, self.black, self.source, self.declared)

    def scale(self, factor: float) -> "ValueRange":
        """Multiply black and white."""
        return ValueRange(self.black * factor, self.white * factor, self.source, self.declared)


def range_of_type(dtype: np.dtype[Any], bits: int | None = None) -> ValueRange:
    """Return the range of an integer type, or of the lowest `bits` of it."""
    limits = np.iinfo(dtype)
    if bits is None or bits >= limits.bits:
        return ValueRange(float(limits.min), float(limits.max))
    sign_bit = int(limits.min < 0)
    return ValueRange(float(-(2 ** (bits - 1))) if sign_bit else 0.0, float(2 ** (bits - sign_bit) - 1))


def range_of_white_level(white_level: float) -> ValueRange:
    """Return the range asked for by the setting `white_level`."""
    return ValueRange(0.0, white_level, _SETTING)


def range_of_png(values: Values, significant_bits: int) -> ValueRange:
    """Return the range of a PNG of 16 bits.

    By the specification, values of fewer significant bits are scaled up to all 16. Cameras also write them as they
    are: then none is too large, and the low bits are in use, empty in values scaled up.
    """
    if significant_bits >= 16:
        return ValueRange(0, 2**16 - 1)
    largest = 2**significant_bits - 1
    low_bits = values & (2 ** (16 - significant_bits) - 1)
    if values.max(initial=0) <= largest and low_bits.max(initial=0) > 1:
        return ValueRange(0, largest, "declared by the file", declared=True)
    return ValueRange(0, 2**16 - 1)


def scale_to_8_bit(values: Values, value_range: ValueRange | None, nodata: Values | None = None) -> Pixels:
    """Scale integers or floats to 0..255.

    Args:
        values: of any shape.
        value_range: None: the smallest and largest finite value, for floats.
        nodata: true for values that mean "no data", same shape; they become black.
    """
    if value_range is None:
        value_range = _own_range(values, nodata)
    elif value_range.declared and values.size:
        value_range = _check_declared(values, value_range, nodata)
    flat = np.ascontiguousarray(values).reshape(-1)
    scaled: Pixels = np.empty(flat.shape, np.uint8)
    low, high = value_range.black, value_range.white
    half_span = (high / 2 - low / 2) or 1  # halves: the whole span of float64 would be infinite
    for start in range(0, flat.size, _CHUNK_VALUES):
        chunk = flat[start : start + _CHUNK_VALUES].astype(np.float64)
        if values.dtype.kind == "f":
            chunk = np.nan_to_num(chunk, nan=low, posinf=max(low, high), neginf=min(low, high))
        scaled[start : start + _CHUNK_VALUES] = np.clip((chunk / 2 - low / 2) / half_span * 255 + 0.5, 0, 255)
    scaled = scaled.reshape(values.shape)
    if nodata is not None:
        scaled[nodata] = 0
    warn_of_few_levels(values, scaled, value_range)
    return scaled


def _own_range(values: Values, nodata: Values | None) -> ValueRange:
    counted = np.isfinite(values) if nodata is None else np.isfinite(values) & ~nodata
    if not counted.any():
        return ValueRange(0.0, 0.0)
    low = float(values.min(where=counted, initial=np.inf))
    high = float(values.max(where=counted, initial=-np.inf))
    return ValueRange(low, high, "its own smallest and largest value")


def _check_declared(values: Values, declared: ValueRange, nodata: Values | None) -> ValueRange:
    """Return the declared range, or the type's if most values lie outside: then the declaration is wrong."""
    low, high = sorted((declared.black, declared.white))
    outside = (values < low) | (values > high)
    if nodata is not None:
        outside &= ~nodata
    share = float(outside.mean())
    text = f"the declared {_format_value(low)} to {_format_value(high)}"
    if share <= 0.5:
        if share:
            warnings.warn(f"{share:.1%} of its values lie outside {text}", stacklevel=2)
        return declared
    warnings.warn(f"most values lie outside {text}, so it was not used", stacklevel=2)
    if values.dtype.kind == "f":
        return _own_range(values, nodata)
    by_type = range_of_type(values.dtype)
    return by_type.invert() if declared.black > declared.white else by_type


def warn_of_few_levels(values: Values, scaled: Pixels, value_range: ValueRange) -> None:
    """Leave a note if scaling to 8 bits merged the photo's values into a few grey levels."""
    levels = np.count_nonzero(np.bincount(scaled.reshape(-1), minlength=256))
    sample = values.reshape(-1)[:: max(1, values.size // _COUNTED_VALUES)]
    if levels >= FEW_LEVELS or np.unique(sample).size <= levels:
        return
    black, white = _format_value(value_range.black), _format_value(value_range.white)
    hint = "" if value_range.source == _SETTING else "; white_level sets another"
    plural = "s" if levels > 1 else ""
    warnings.warn(
        f"only {levels} grey level{plural} left: black is {black}, white is {white}, {value_range.source}{hint}",
        stacklevel=2,
    )


def _format_value(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def is_usable(low: float, high: float) -> bool:
    """Tell whether two declared values can be a range."""
    return math.isfinite(low) and math.isfinite(high) and low < high
