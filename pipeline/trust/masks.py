"""A mask file -> true inside the defects. Masks hold labels, not light, so the rules for photos don't apply.

Background is black, or label 0, or transparent; everything else is a defect. In files with smooth edges, or with the
noise of a lossy format, only values over half of the largest are.
"""

import filecmp
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from pipeline.errors import DecodeError, one_line
from pipeline.photos.decode import load_decoders
from pipeline.photos.depth import read_png_samples
from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.pillow_reader import FORMATS
from pipeline.photos.png_chunks import is_png
from pipeline.photos.tiff_pages import WHITE_IS_ZERO, find_page, is_tiff
from pipeline.photos.tiff_values import count_colours, find_alpha, read_samples

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
    deep = _read_deep(data)
    if deep is not None:
        values, alpha = deep
        return _separate_defects(_keep_labels(values.max(axis=2)), _find_visible(alpha), is_lossy=False)
    with Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN]) as picture:
        _check_pixels(picture.size)
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


def _read_deep(data: bytes) -> tuple[Values, Values | None] | None:
    """Read a TIFF or PNG with more than 8 bits as stored: (h, w, colours), and alpha, (h, w), if it has one.

    None for pictures that Pillow reads as stored. It keeps the upper 8 bits of colours, and these may hold no label.
    """
    file = io.BytesIO(data)
    if is_tiff(file):
        page = find_page(file)
        if page is None or not page.needs_tifffile or page.page.photometric == WHITE_IS_ZERO:
            return None
        _check_pixels(page.size)
        samples, colours = read_samples(page.page), count_colours(page.page)
        with warnings.catch_warnings(action="ignore"):  # further samples matter in photos only
            has_alpha = find_alpha(page.page) > 0
    elif is_png(file):
        with Image.open(file, formats=["PNG"]) as picture:
            _check_pixels(picture.size)
            is_deep = picture.tile and str(picture.tile[0].args).endswith("16B")
        read = read_png_samples(file) if is_deep else None
        if read is None:
            return None
        samples, colours = read
        has_alpha = samples.shape[2] > colours
    else:
        return None
    return samples[..., :colours], samples[..., colours] if has_alpha else None


def _check_pixels(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise DecodeError(f"{width} x {height} pixels are more than {MAX_PIXELS}")


def _find_visible_pixels(picture: Image.Image) -> MaskPixels | None:
    if "transparency" not in picture.info and picture.mode not in ("RGBA", "RGBa", "LA", "La"):
        return None
    return _find_visible(np.asarray(picture.convert("RGBA"))[..., 3])


def _find_visible(alpha: Values | None) -> MaskPixels | None:
    """Find the pixels that are not transparent; None where transparency tells nothing."""
    if alpha is None or alpha.min() > 0 or alpha.max() == 0:  # no clear background, or nothing but one
        return None
    visible: MaskPixels = alpha > alpha.max() / 2
    return visible


def _keep_labels(values: Values) -> Values:
    """Set everything but positive numbers to 0."""
    labels: Values = np.where(np.isfinite(values) & (values > 0), values, 0)
    return labels


def _read_values(picture: Image.Image) -> Values:
    """Read one value a pixel, 0 for background: label, grey value, or the brightest of the three colours."""
    if picture.mode in ("1", "L", "F") or picture.mode.startswith("I"):
        values = np.asarray(picture)
        return _keep_labels(values) if picture.mode == "F" else values
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
