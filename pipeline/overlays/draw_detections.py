"""The defects found in a photo, as boxes on its overlay."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.maps.geometry import scale_box
from pipeline.records import LIKELY_FROM, Box

Detections = Sequence[Mapping[str, Any]]  # as in the column of this name

_COLOUR = "#00916e"
_LEAST_LETTERS = 10  # pixels


def draw_detections(picture: Image.Image, detections: Detections, size: tuple[int, int]) -> None:
    """Draw the likely defects as boxes with their labels, in place.

    Args:
        picture: RGB, of the photo or smaller.
        detections: in upright pixels of the photo.
        size: width and height of the photo.
    """
    canvas, side = ImageDraw.Draw(picture), min(picture.size)
    font = ImageFont.load_default(max(_LEAST_LETTERS, side / 50))
    for one in reversed(detections):  # the surest on top
        if np.float32(one["score"]) < LIKELY_FROM:
            continue
        x0, y0, x1, y1 = scale_box(_read_box(one), size, picture.size)
        canvas.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=_COLOUR, width=max(1, side // 320))
        text = f"{one['label']} {one['score']:.2f}"
        _, top, width, bottom = canvas.textbbox((0, 0), text, font)
        x, y = max(0, min(x0, picture.width - width)), y0 - bottom - 2 if y0 > bottom + 2 else y1
        canvas.rectangle((x, y + top - 1, x + width + 2, y + bottom + 1), fill=_COLOUR)
        canvas.text((x + 1, y), text, "white", font)


def _read_box(detection: Mapping[str, Any]) -> Box:
    """Read a box with the precision of the table, so that a row gives the same picture later."""
    x0, y0, x1, y1 = np.array([detection[side] for side in ("x0", "y0", "x1", "y1")], np.float32).tolist()
    return x0, y0, x1, y1
