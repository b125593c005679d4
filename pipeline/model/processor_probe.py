"""A test of the image processor with pictures of coordinates, when a model is opened.

A run takes only resize and crop from the processor; rescale, normalise and the place of the map are computed here. A
processor with a further step would give other logits, or maps beside their object, without any error.
"""

from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.model.input_geometry import InputGeometry
from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.load_photo import LoadSpec, model_pixels
from pipeline.records import Floats, Pixels

_PICTURES = ((331, 207), (207, 331))  # width and height: landscape and portrait
_VALUE_TOLERANCE = 5e-4  # share of the range of values; a grey level is eight times as much
_LARGEST_OFFSET, _MEAN_OFFSET = 2.0, 0.5  # grey levels between pixel and gradient: rounding, and the nearest pixel
_PLAIN_SETTINGS = frozenset(
    "do_resize do_center_crop do_rescale do_normalize do_convert_rgb size crop_size resample rescale_factor image_mean "
    "image_std image_processor_type feature_extractor_type processor_class data_format input_data_format "
    "default_to_square return_tensors use_fast backend image_seq_length disable_grouping device".split()
)


def check_processor(processor: Any, geometry: InputGeometry, mean: Floats, scale: Floats, *, rescale: bool) -> None:
    """Compare the processor's own output with ours: pixels, input size, and the part of the picture.

    Args:
        processor: the image processor, with all of its steps.
        geometry: its resize and crop, with patches of one pixel.
        mean, scale: (3, 1, 1); ours is (pixels - mean) * scale.
        rescale: as for the model; False turns the processor's off too.

    Raises:
        ModelError: they differ; names the processor and its further steps.
    """
    options = {} if rescale else {"do_rescale": False}
    for width, height in _PICTURES:
        picture = _draw_coordinates(width, height)
        with np.errstate(all="ignore"):
            pixels = model_pixels(picture, LoadSpec(processor, None, None, MAX_PIXELS))  # (3, H, W)
            output = processor(picture, input_data_format="channels_last", **options)["pixel_values"][0]
        difference = _describe_difference(pixels, np.asarray(output), geometry, mean, scale)
        if difference is None and not _shows_box(pixels, geometry.map_box(width, height), width, height):
            difference = "it shows another part of the photo than resize and centre crop do"
        if difference:
            raise ModelError(
                f"the image processor {_name_processor(processor)} does more than resize, crop, rescale and normalise"
                f"{_list_settings(processor)}: {difference}; turn that off in preprocessor_config.json if the model "
                "was trained without it, or use another checkpoint"
            )


def _draw_coordinates(width: int, height: int) -> Pixels:
    """Draw a picture (height, width, 3) with its x in red and blue, and its y in green, from 0 to 255."""
    x, y = ((np.arange(side) + 0.5) * 255 / side for side in (width, height))
    return np.stack(np.broadcast_arrays(x[None], y[:, None], x[None]), axis=2).round().astype(np.uint8)


def _describe_difference(
    pixels: Pixels, output: Floats, geometry: InputGeometry, mean: Floats, scale: Floats
) -> str | None:
    expected_shape = (3, *geometry.input_size)
    if output.shape != expected_shape or pixels.shape != expected_shape:
        shape = output.shape if output.shape != expected_shape else pixels.shape
        return f"it gives {shape} values for a photo where its size and crop say {expected_shape}"
    off = float(np.abs((pixels - mean) * scale - output).max())
    if not off <= _VALUE_TOLERANCE * 255 * float(np.abs(scale).max()):  # NaN is off, too
        return f"its values are off by up to {off:.3g}"
    return None


def _shows_box(pixels: Pixels, box: tuple[float, ...], width: int, height: int) -> bool:
    """Tell whether red and green are the coordinates of the box, up to two pixels from the edges of the picture."""
    x0, y0, x1, y1 = box
    _, rows, columns = pixels.shape
    offsets, inside = [], []
    for start, end, count, side in ((x0, x1, columns, width), (y0, y1, rows, height)):
        step = (end - start) / count
        centres = start + (np.arange(count) + 0.5) * step  # in pixels of the picture
        margin = 2 * max(1.0, step)
        inside.append((centres > margin) & (centres < side - margin))
        offsets.append(centres * 255 / side)
    if not (inside[0].any() and inside[1].any()):  # an input of a few pixels
        return True
    seen = pixels[:2, inside[1]][:, :, inside[0]].astype(float)
    off_x, off_y = seen[0] - offsets[0][inside[0]], seen[1] - offsets[1][inside[1]][:, None]
    return all(np.abs(off).max() <= _LARGEST_OFFSET and abs(off.mean()) <= _MEAN_OFFSET for off in (off_x, off_y))


def _name_processor(processor: Any) -> str:
    return type(processor).__name__.removesuffix("Pil").removesuffix("Fast")


def _list_settings(processor: Any) -> str:
    """List the settings in force that are no part of resize, crop, rescale and normalise."""
    more = [name for name, value in processor.to_dict().items() if value and name not in _PLAIN_SETTINGS]
    return f" ({', '.join(more)})" if more else ""
