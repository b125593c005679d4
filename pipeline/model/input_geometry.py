"""From the photo to the model's input, as geometry.

The checkpoint's image processor resizes a photo and may crop its centre; the model cuts the result into whole patches.
`InputGeometry` holds this chain, to lay the map on exactly the part of the photo seen by the model.
"""

from dataclasses import dataclass
from typing import Any

from pipeline.errors import ModelError
from pipeline.records import Box, Sample


@dataclass(frozen=True)
class InputGeometry:
    """Resize, crop and patches between a photo and the model's tokens.

    Attributes:
        resize: (height, width) of every photo after the resize, or None.
        shortest_edge: length in pixels of the shorter side after a resize with the aspect kept, or None.
        crop: (height, width) of a centre crop after the resize, with padding if it is larger, or None.
        patch_size: pixels of the input along a side of a map cell.
        within: largest (height, width) after a resize with the aspect kept, or None; the crop pads the rest.
    """

    resize: tuple[int, int] | None
    shortest_edge: int | None
    crop: tuple[int, int] | None
    patch_size: int
    within: tuple[int, int] | None = None

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the model's input."""
        size = self.crop or self.resize
        assert size is not None, "read_input_geometry refuses processors without a fixed output size"
        return size

    @property
    def grid(self) -> tuple[int, int]:
        """(grid_h, grid_w): whole patches in the input; the model does not see a remainder."""
        return self.input_size[0] // self.patch_size, self.input_size[1] // self.patch_size

    @property
    def draft_size(self) -> int | None:
        """Shorter side in pixels for a lossless resize: twice the target.

        None without a resize: a crop of the pixels as they are needs all of them.
        """
        box = self.resize or self.within
        target = max(box) if box else self.shortest_edge
        return 2 * target if target else None

    def box_of(self, sample: Sample) -> Box:
        """Return the part of a photo covered by its map, in upright pixels; all of one cut into several windows."""
        if sample.tiles and len(sample.tiles.boxes) > 1:
            return 0.0, 0.0, float(sample.width), float(sample.height)
        return self.map_box(sample.width, sample.height)

    def map_box(self, width: int, height: int) -> Box:
        """Return the part of a photo covered by the map.

        Args:
            width: upright pixels of the photo.
            height: upright pixels of the photo.

        Returns:
            (x0, y0, x1, y1) in pixels of the photo; beyond the photo if the processor pads.
        """
        resized_h, resized_w = self._resized_size(width, height)
        top, left = 0, 0
        if self.crop:  # transformers' center_crop rounds the same way, below zero as well
            top, left = (resized_h - self.crop[0]) // 2, (resized_w - self.crop[1]) // 2
        bottom = top + self.grid[0] * self.patch_size
        right = left + self.grid[1] * self.patch_size
        scale_x, scale_y = width / resized_w, height / resized_h
        return left * scale_x, top * scale_y, right * scale_x, bottom * scale_y

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        if self.resize:
            return self.resize
        if self.within:
            scale = min(self.within[0] / height, self.within[1] / width)
            return max(1, int(height * scale)), max(1, int(width * scale))  # truncated, as transformers does
        if self.shortest_edge is None:
            return height, width
        short, long = sorted((width, height))
        longer = int(self.shortest_edge * long / short)  # truncated, as transformers does
        return (longer, self.shortest_edge) if width <= height else (self.shortest_edge, longer)


def read_input_geometry(processor: Any, patch_size: int) -> InputGeometry:
    """Read the geometry of a transformers image processor.

    Raises:
        ModelError: its output has no fixed size, or its resize rule is unknown here.
    """
    size = {key: value for key, value in dict(processor.size or {}).items() if value} if processor.do_resize else {}
    crop = None
    if getattr(processor, "do_center_crop", False):
        crop = (int(processor.crop_size["height"]), int(processor.crop_size["width"]))
    if set(size) not in (set(), {"height", "width"}, {"shortest_edge"}, {"max_height", "max_width"}):
        raise ModelError(
            f"the image processor resizes by {size}, a rule without support; supported: height and width, "
            "shortest_edge, max_height and max_width"
        )
    resize = (int(size["height"]), int(size["width"])) if "height" in size else None
    if resize is None and crop is None:
        raise ModelError(
            "the image processor gives inputs of varying size, which don't fit in a batch; set --input-size"
        )
    within = (int(size["max_height"]), int(size["max_width"])) if "max_height" in size else None
    return InputGeometry(resize, size.get("shortest_edge"), crop, patch_size, within)
