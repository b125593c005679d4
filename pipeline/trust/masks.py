"""A mask file -> true inside the defects. Masks hold labels, not light, so the rules for photos don't apply.

Background is black, or label 0, or transparent; everything else is a defect. In files with smooth edges, or with the
noise of a lossy format, only values over half of the largest are.
"""

import filecmp
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from pipeline.errors import DecodeError, one_line
from pipeline.photos.decode import MAX_PIXELS, load_decoders
from pipeline.photos.pillow_reader import FORMATS

MaskPixels = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]

_LOSSY_FORMATS = {"JPEG", "MPO", "WEBP", "JPEG2000", "AVIF", "HEIF"}
_SMOOTH_LEVELS = 16  # label images seldom have more values
_BRIGHT = 200  # reached by white, and by few numbers of labels
_MIDDLE = (1 / 8, 7 / 8)  # of the largest value: smooth edges have few pixels in between, label images have many


def read_mask(file: Path, photo: Path) -> MaskPixels:
    """Read a mask: (h, w), true inside the defects.

    Raises:
        DecodeError: it can't be read, or is a copy of its own photo.
    """
    try:
        if photo.exists() and filecmp.cmp(file, photo, shallow=False):
            raise DecodeError(f"its mask {file} is the photo itself; name the folder of the masks")
        return read_mask_picture(file.read_bytes())
    except UnidentifiedImageError:  # its own message holds a memory address
        raise DecodeError(f"its mask {file} can't be read: not an image of a supported format") from None
    except OSError as error:
        raise DecodeError(f"its mask {file} can't be read: {error.strerror or one_line(error)}") from None
    except DecodeError:
        raise
    except Exception as error:  # a decoder may raise anything on a broken file
        raise DecodeError(f"its mask {file} can't be read: {one_line(error)}") from None


def read_mask_picture(data: bytes) -> MaskPixels:
    """Decode the bytes of a mask; see `read_mask`."""
    load_decoders()
    with Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN]) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise DecodeError(f"{width} x {height} pixels are more than {MAX_PIXELS}")
        is_lossy = picture.format in _LOSSY_FORMATS
        picture.load()
        if picture.mode in ("P", "PA") and not is_lossy:
            return _read_palette(picture)
        visible = _find_visible_pixels(picture)
        return _separate_defects(_read_values(picture), visible, is_lossy)


def shrink_mask(mask: MaskPixels, size: tuple[int, int]) -> MaskPixels:
    """Scale a mask down: a pixel covering any part of a defect is inside.

    Args:
        mask: (H, W).
        size: width and height, at most those of the mask.

    Returns:
        (height, width).
    """
    for axis, count in ((0, size[1]), (1, size[0])):
        length = mask.shape[axis]
        parts = [slice(index * length // count, -(-(index + 1) * length // count)) for index in range(count)]
        mask = np.stack([(mask[part] if axis == 0 else mask[:, part]).any(axis=axis) for part in parts], axis=axis)
    return mask


def _read_palette(picture: Image.Image) -> MaskPixels:
    """Read a picture of palette entries. Its background: transparent or black entries, or else entry 0."""
    entries = np.asarray(picture.convert("P") if picture.mode == "PA" else picture)
    colours = np.asarray(picture.convert("RGBA"))  # (h, w, 4)
    alpha: Values = colours[..., 3]
    is_black: MaskPixels = np.asarray((colours[..., :3] == 0).all(axis=2))
    if not alpha.all() and alpha.any():
        is_drawn = (alpha > 0) & ~is_black
        return is_drawn if is_drawn.any() else alpha > 0
    if is_black.any() and not is_black.all():
        return ~is_black
    if is_black.all() and np.ptp(entries) == 0:
        return np.zeros(entries.shape, np.bool_)
    is_label: MaskPixels = entries != 0
    return is_label


def _find_visible_pixels(picture: Image.Image) -> MaskPixels | None:
    """Find the pixels that are not transparent; None where transparency tells nothing."""
    if "transparency" not in picture.info and picture.mode not in ("RGBA", "RGBa", "LA", "La"):
        return None
    alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    if alpha.min() > 0 or alpha.max() == 0:  # no clear background, or nothing but one
        return None
    visible: MaskPixels = alpha > alpha.max() / 2
    return visible


def _read_values(picture: Image.Image) -> Values:
    """Read one value a pixel, 0 for background: label, grey value, or the brightest of the three colours."""
    if picture.mode in ("1", "L", "F") or picture.mode.startswith("I"):
        values = np.asarray(picture)
        return np.where(np.isfinite(values) & (values > 0), values, 0) if picture.mode == "F" else values
    if picture.mode in ("LA", "La"):
        return np.asarray(picture.convert("LA"))[..., 0]
    rgb = picture.convert("RGBA" if picture.mode in ("RGBA", "RGBa") else "RGB")
    brightest: Values = np.asarray(rgb)[..., :3].max(axis=2)
    return brightest


def _separate_defects(values: Values, visible: MaskPixels | None, is_lossy: bool) -> MaskPixels:
    if visible is not None:
        drawn = values[visible]
        if drawn.all() or not drawn.any():  # one colour on a clear background, black perhaps
            return visible
        values = np.where(visible, values, 0)
    is_soft = values.dtype != np.bool_ and (is_lossy or _has_smooth_edges(values))
    is_defect: MaskPixels = values > (values.max() / 2 if is_soft else 0)
    return is_defect


def _has_smooth_edges(values: Values) -> bool:
    """Tell a mask resized, softened or once saved as JPEG from a picture of many labels."""
    levels, counts = np.unique(values, return_counts=True)
    levels, counts = levels[levels > 0], counts[levels > 0]
    if len(levels) <= _SMOOTH_LEVELS:
        return False
    if np.issubdtype(values.dtype, np.floating):
        return True  # a map of scores
    low, high = (share * float(levels[-1]) for share in _MIDDLE)
    in_between = counts[(levels > low) & (levels < high)].sum()
    return bool(levels[-1] >= _BRIGHT and in_between < counts.sum() / 2)
