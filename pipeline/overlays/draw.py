"""Map + photo -> picture. Pure: arrays and images in, an image out."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from pipeline.maps.statistics import HOT_PERCENTILE, scaled, value_range
from pipeline.model.input_geometry import cells_under, visible_part
from pipeline.records import Box, Floats, Pixels

Style = Literal["heat", "article"]

_PIXELS_A_CELL = 8  # of a map where it is blurred: enough to be smooth, far fewer than a large photo has
_PERCENTILES: dict[Style, float] = {"heat": HOT_PERCENTILE, "article": 100.0}  # of a map's cells: the hottest shown


@dataclass(frozen=True)
class OverlayLook:
    """How overlays look.

    Attributes:
        style: `heat`: a colour map whose opacity follows the value. `article`: white, the value as alpha.
        opacity: of the hottest spot, 0..1; `article` has its own.
        colormap: a name of the package cmap.
    """

    style: Style = "heat"
    opacity: float = 0.7
    colormap: str = "plasma"


def draw_overlay(photo: Pixels, attention: Floats, box: Box, look: OverlayLook) -> Image.Image:
    """Lay a map over the part of a photo that it covers.

    Args:
        photo: (h, w, 3), upright.
        attention: (grid_h, grid_w), any range; each picture is scaled by its own minimum and 98th percentile
            (`article`: and maximum).
        box: (x0, y0, x1, y1) in pixels of `photo` that the map covers; may reach beyond it.
        look: colours and opacity.

    Returns:
        RGB, the size of `photo`. Outside the box the photo is untouched.
    """
    picture = Image.fromarray(photo)
    left, top, right, bottom = visible_part(box, picture.size)
    if right <= left or bottom <= top:
        return picture
    heat = _upsample(attention, box, (left, top, right, bottom), look.style)
    if look.style == "article":
        colour, mask = Image.new("RGB", heat.size, "white"), heat
    else:
        colour = heat.copy()
        colour.putpalette(_palette(look.colormap))
        colour = colour.convert("RGB")
        mask = heat.point([round(value * look.opacity) for value in range(256)])
    picture.paste(colour, (left, top), mask)
    return picture


def shown_range(attention: Floats, style: Style) -> tuple[float, float]:
    """The values of a map that its picture shows as the coldest and the hottest; some are hotter still."""
    low, high = value_range(attention, _PERCENTILES[style])
    return low.item(), high.item()


def _upsample(attention: Floats, box: Box, visible: tuple[int, int, int, int], style: Style) -> Image.Image:
    """The map over the visible pixels, mode L: bicubic, then a light blur that hides the cells' edges.

    It is blurred by two pixels (`article`), or by a quarter of a cell and then before it is as large as the photo.
    """
    values = scaled(attention, _PERCENTILES[style])
    left, top, right, bottom = visible
    cells = cells_under(visible, box, attention.shape)
    size = blurred = right - left, bottom - top
    if style == "heat":
        columns, rows = cells[2] - cells[0], cells[3] - cells[1]
        blurred = math.ceil(_PIXELS_A_CELL * columns), math.ceil(_PIXELS_A_CELL * rows)
    smooth = Image.fromarray(values).resize(blurred, Image.Resampling.BICUBIC, box=cells)
    heat = Image.fromarray(np.clip(np.asarray(smooth) * 255 + 0.5, 0, 255).astype(np.uint8))
    return heat.filter(ImageFilter.GaussianBlur(2)).resize(size, Image.Resampling.BICUBIC)


@lru_cache(maxsize=8)
def _palette(colormap: str) -> bytes:
    """256 RGB triples of a colour map."""
    from cmap import Colormap

    colours = np.asarray(Colormap(colormap).lut(256))[:, :3]  # (256, 3), 0..1
    return np.round(colours * 255).astype(np.uint8).tobytes()
