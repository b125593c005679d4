"""A photo and its map -> overlay and thumbnail, encoded and in place, in any process."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.maps.geometry import scale_box
from pipeline.overlays.draw import OverlayLook, draw_overlay
from pipeline.overlays.draw_detections import Detections, draw_detections
from pipeline.overlays.png import encode_png
from pipeline.photos.resize import downscale, fit_within
from pipeline.records import Box, Floats, Pixels
from pipeline.results.names import thumbnail_name
from pipeline.results.pictures import place_picture

_THUMBNAIL_SIDE = 320  # pixels, of the photo and of the overlay beside it


@dataclass(frozen=True)
class Drawing:
    """What to draw over a photo.

    Attributes:
        name: of the overlay, relative to OUT.
        out: folder for the pictures; None: the answer holds them.
        attention: (grid_h, grid_w), the raw map.
        box: the part of the photo under the map, in upright pixels of the file.
        size: width and height of the file, upright.
        detections: the defects found, as in the table.
        look: style, opacity and colours.
    """

    name: str
    out: Path | None
    attention: Floats
    box: Box
    size: tuple[int, int]
    detections: Detections
    look: OverlayLook


@dataclass(frozen=True)
class DrawnPictures:
    """Overlay and thumbnail of a photo.

    Attributes:
        name: of the overlay in place.
        size: of both, in bytes.
        contents: overlay and thumbnail, if they are not in place.
    """

    name: str
    size: int
    contents: tuple[bytes, bytes] | None


def draw_pictures(photo: Pixels, drawing: Drawing) -> DrawnPictures:
    """Draw overlay and thumbnail, and put them in place.

    Args:
        photo: (h, w, 3), upright, of the size of the overlay.
        drawing: what to draw.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    height, width, _ = photo.shape
    x0, y0, x1, y1 = np.asarray(drawing.box, np.float32).tolist()  # as in the table: so a row gives the same picture
    heat = np.maximum(drawing.attention, 0)  # negative values speak against a label
    picture = draw_overlay(photo, heat, scale_box((x0, y0, x1, y1), drawing.size, (width, height)), drawing.look)
    draw_detections(picture, drawing.detections, drawing.size)
    overlay = np.asarray(picture)  # (h, w, 3)
    contents = encode_png(overlay), _encode_thumbnail(photo, overlay)
    size = sum(map(len, contents))
    if drawing.out is None:
        return DrawnPictures(drawing.name, size, contents)
    name = place_picture(drawing.out, drawing.name, contents[0])
    place_picture(drawing.out, thumbnail_name(name), contents[1])
    return DrawnPictures(name, size, None)


def _encode_thumbnail(photo: Pixels, overlay: Pixels) -> bytes:
    """Put the photo, left, beside its overlay, right, both scaled down to the side of a thumbnail; return a JPEG."""
    height, width, _ = photo.shape
    size = fit_within((width, height), _THUMBNAIL_SIDE)
    side_by_side = Image.fromarray(np.hstack([downscale(photo, size), downscale(overlay, size)]))
    jpeg = io.BytesIO()
    side_by_side.save(jpeg, "JPEG", quality=80)
    return jpeg.getvalue()
