"""Another input size for an image processor."""

import copy
from typing import Any


def resize_input(processor: Any, input_size: tuple[int, int]) -> None:
    """Set the input's size; a resize before a centre crop keeps its proportion to the crop."""
    height, width = input_size
    if getattr(processor, "do_center_crop", False):
        zoom = max(height / processor.crop_size["height"], width / processor.crop_size["width"])
        sides = {side: round(pixels * zoom) for side, pixels in dict(processor.size).items() if pixels}
        processor.size = type(processor.size)(**sides)
        processor.crop_size = type(processor.crop_size)(height=height, width=width)
    else:
        processor.do_resize = True
        processor.size = type(processor.size)(height=height, width=width)


def stretch_to_input(processor: Any, input_size: tuple[int, int]) -> Any:
    """Return a copy of an image processor that resizes to (H, W), without a crop or a border."""
    copied = copy.deepcopy(processor)
    copied.do_center_crop, copied.do_pad = False, False
    resize_input(copied, input_size)
    return copied
