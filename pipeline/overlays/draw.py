"""Drawing of overlays: a map and a photo in, a picture out. Pure functions."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from pipeline.maps.geometry import cells_under, visible_part
from pipeline.maps.statistics import HOT_PERCENTILE, scale_to_unit, value_range
from pipeline.model.map_scale import Span
from pipeline.records import Box, Floats, Pixels
from pipeline.settings import OverlaySettings

Style = Literal["heat", "article"]

_PIXELS_PER_CELL = 8  # of a map while it is blurred: enough for a smooth picture, far fewer than in a large photo
_HOTTEST_SHOWN: dict[Style, float] = {"heat": HOT_PERCENTILE, "article": 100.0}  # percentile of a map's cells


@dataclass(frozen=True)
class OverlayLook:
    """Appearance of overlays.

    Attributes:
        style: `heat`: a colour map with an opacity that follows the value. `article`: white, with the value as alpha.
        opacity: of the hottest spot, 0..1; ignored by `article`.
        colormap: a name from the package cmap; ignored by `article`.
        span: map values drawn as the coldest and the hottest in every picture; None: each picture's own.
    """

    style: Style = "heat"
    opacity: float = 0.7
    colormap: str = "plasma"
    span: Span | None = None


def overlay_look(settings: OverlaySettings, span: Span | None = None) -> OverlayLook:
    """Return the look of overlays in the settings, on one scale for all if there is a `span`."""
    return OverlayLook(settings.style, settings.overlay_opacity, settings.colormap, span)


def draw_overlay(photo: Pixels, attention: Floats, box: Box, look: OverlayLook) -> Image.Image:
    """Lay a map over its part of a photo.

    Args:
        photo: (h, w, 3), upright.
        attention: (grid_h, grid_w), any range; without a span of the look, a picture is scaled by its own minimum and
            98th percentile (`article`: maximum).
        box: (x0, y0, x1, y1), the part of the photo under the map, in pixels of `photo`; may reach beyond the photo.
        look: colours and opacity.

    Returns:
        RGB, the size of `photo`. Outside the box the photo is unchanged.
    """
    picture = Image.fromarray(photo)
    left, top, right, bottom = visible_part(box, picture.size)
    if right <= left or bottom <= top:
        return picture
    heat = _upsample_map(scale_map(attention, look), box, (left, top, right, bottom), look.style)
    if look.style == "article":
        colour, mask = Image.new("RGB", heat.size, "white"), heat
    else:
        colour = heat.copy()
        colour.putpalette(_palette_bytes(look.colormap))
        colour = colour.convert("RGB")
        mask = heat.point([round(value * look.opacity) for value in range(256)])
    picture.paste(colour, (left, top), mask)
    return picture


def shown_range(attention: Floats, look: OverlayLook) -> Span:
    """Return the map values shown as the coldest and the hottest in a picture; a few cells may be hotter still."""
    if look.span:
        return look.span
    low, high = value_range(attention, _HOTTEST_SHOWN[look.style])
    return low.item(), high.item()


def scale_map(attention: Floats, look: OverlayLook) -> Floats:
    """Scale a map, (grid_h, grid_w), to 0..1, by its `shown_range`."""
    if look.span is None:
        return scale_to_unit(attention, _HOTTEST_SHOWN[look.style])
    low, high = look.span
    values: Floats = np.clip((attention - low) / (high - low), 0, 1).astype(np.float32)
    return values


def _upsample_map(values: Floats, box: Box, visible: tuple[int, int, int, int], style: Style) -> Image.Image:
    """Enlarge a map of 0..1 to the visible pixels, mode L: bicubic, with a light blur to hide the edges of the cells.

    `article` blurs by two pixels of the photo. `heat` blurs by a quarter of a cell, before the map is as large as the
    photo.
    """
    left, top, right, bottom = visible
    cells = cells_under(visible, box, values.shape)
    size = blurred_size = right - left, bottom - top
    if style == "heat":
        columns, rows = cells[2] - cells[0], cells[3] - cells[1]
        blurred_size = math.ceil(_PIXELS_PER_CELL * columns), math.ceil(_PIXELS_PER_CELL * rows)
    smooth = Image.fromarray(values).resize(blurred_size, Image.Resampling.BICUBIC, box=cells)
    heat = Image.fromarray(np.clip(np.asarray(smooth) * 255 + 0.5, 0, 255).astype(np.uint8))
    return heat.filter(ImageFilter.GaussianBlur(2)).resize(size, Image.Resampling.BICUBIC)


@lru_cache(maxsize=8)
def _palette_bytes(colormap: str) -> bytes:
    """Return a colour map as 256 RGB triples."""
    from cmap import Colormap

    colours = np.asarray(Colormap(colormap).lut(256))[:, :3]  # (256, 3), 0..1
    return np.round(colours * 255).astype(np.uint8).tobytes()
