"""Map cells <-> pixels of the original photo.

The checkpoint's image processor resizes a photo and may crop its centre; the model cuts what is left into
whole patches. `InputGeometry` holds that chain, so the map can be laid on exactly the part that the model saw.
"""

from dataclasses import dataclass
from typing import Any

from pipeline.errors import ModelError
from pipeline.records import Box


@dataclass(frozen=True)
class InputGeometry:
    """How a photo becomes the model's input.

    Attributes:
        resize: (height, width) that every photo is resized to, or None.
        shortest_edge: resize so that the shorter side has this many pixels, keeping the aspect, or None.
        crop: (height, width) of a centre crop after that, padded where it is larger, or None.
        patch_size: pixels of the input along a side of a map cell.
    """

    resize: tuple[int, int] | None
    shortest_edge: int | None
    crop: tuple[int, int] | None
    patch_size: int

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the model's input."""
        size = self.crop or self.resize
        assert size is not None, "framing_of refuses processors without a fixed output size"
        return size

    @property
    def grid(self) -> tuple[int, int]:
        """(grid_h, grid_w): whole patches in the input; a remainder is not seen by the model."""
        return self.input_size[0] // self.patch_size, self.input_size[1] // self.patch_size

    @property
    def draft_size(self) -> int | None:
        """Shorter side in pixels that a photo needs for the resize to lose nothing: twice the target.

        None where there is no resize: a crop of the pixels as they are needs all of them.
        """
        target = max(self.resize) if self.resize else self.shortest_edge
        return 2 * target if target else None

    def map_box(self, width: int, height: int) -> Box:
        """The part of a photo that the map covers.

        Args:
            width: upright pixels of the photo.
            height: upright pixels of the photo.

        Returns:
            (x0, y0, x1, y1) in pixels of the photo; beyond the photo where the processor pads.
        """
        resized_h, resized_w = self._resized(width, height)
        top, left = 0, 0
        if self.crop:  # transformers' center_crop rounds the same way, below zero as well
            top, left = (resized_h - self.crop[0]) // 2, (resized_w - self.crop[1]) // 2
        bottom = top + self.grid[0] * self.patch_size
        right = left + self.grid[1] * self.patch_size
        scale_x, scale_y = width / resized_w, height / resized_h
        return left * scale_x, top * scale_y, right * scale_x, bottom * scale_y

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.resize:
            return self.resize
        if self.shortest_edge is None:
            return height, width
        short, long = sorted((width, height))
        other = int(self.shortest_edge * long / short)  # truncated, as transformers does
        return (other, self.shortest_edge) if width <= height else (self.shortest_edge, other)


def read_input_geometry(processor: Any, patch_size: int) -> InputGeometry:
    """Read the framing off a transformers image processor.

    Raises:
        ModelError: its output has no fixed size, or its resize rule is not known here.
    """
    size = {key: value for key, value in dict(processor.size or {}).items() if value} if processor.do_resize else {}
    crop = None
    if getattr(processor, "do_center_crop", False):
        crop = (int(processor.crop_size["height"]), int(processor.crop_size["width"]))
    if not set(size) <= {"height", "width"} and set(size) != {"shortest_edge"}:
        raise ModelError(
            f"the image processor resizes by {size}, which is not supported; known: height and width, shortest_edge"
        )
    resize = (int(size["height"]), int(size["width"])) if "height" in size else None
    if resize is None and crop is None:
        raise ModelError(
            "the image processor gives inputs of varying size, which don't fit in a batch; set --input-size"
        )
    return InputGeometry(resize, size.get("shortest_edge"), crop, patch_size)


def visible_part(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels of a picture, (width, height), that a box covers: left, top, right, bottom."""
    x0, y0, x1, y1 = box
    return max(0, round(x0)), max(0, round(y0)), min(size[0], round(x1)), min(size[1], round(y1))


def cells_under(visible: tuple[int, int, int, int], box: Box, grid: tuple[int, ...]) -> Box:
    """The part of a map that lies under pixels of the box that it covers.

    Args:
        visible: left, top, right, bottom.
        box: x0, y0, x1, y1, in the same pixels.
        grid: (grid_h, grid_w).

    Returns:
        (x0, y0, x1, y1) in cells.
    """
    left, top, right, bottom = visible
    (x0, y0, x1, y1), (grid_h, grid_w) = box, grid
    per_x, per_y = grid_w / (x1 - x0), grid_h / (y1 - y0)  # cells a pixel
    return (
        max(0.0, (left - x0) * per_x),
        max(0.0, (top - y0) * per_y),
        min(float(grid_w), (right - x0) * per_x),
        min(float(grid_h), (bottom - y0) * per_y),
    )
