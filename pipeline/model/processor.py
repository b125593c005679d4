"""The checkpoint's image processor: its resize and crop run on photos, rescale and normalise on the device."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoImageProcessor

from pipeline.errors import ModelError, one_line
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.input_geometry import InputGeometry, read_input_geometry
from pipeline.model.processor_probe import check_processor
from pipeline.model.resize_input import resize_input
from pipeline.records import Doubles

_ERROR_LETTERS = 300  # of an error from a library
_LARGEST_SIDE = 2**14  # of an input, pixels
_PROBED_SIDE = 1024  # longest side of an input in the probe, pixels
_MOST_CROPPED = 8  # times the crop: the longest side before it


@dataclass(frozen=True)
class Preprocessing:
    """From a photo to the model's input.

    Attributes:
        processor: the image processor.
        geometry: its resize and crop.
        mean, scale: (1, 3, 1, 1); input = (pixels - mean) * scale.
    """

    processor: Any
    geometry: InputGeometry
    mean: Tensor
    scale: Tensor


def open_preprocessing(
    checkpoint: Checkpoint, patch_size: int, *, input_size: tuple[int, int] | None, rescale: bool
) -> Preprocessing:
    """Load the image processor, and check that it does what is computed here.

    Args:
        checkpoint: its files.
        patch_size: pixels of the input along a side of a map cell.
        input_size: (H, W) in pixels instead of the processor's own.
        rescale: divide pixels by 255 first, if the image processor says so; False: never.

    Raises:
        ModelError: it can't be loaded, its settings make no sense, or it does more.
    """
    processor = load_processor(checkpoint)
    try:
        if input_size is not None:
            resize_input(processor, input_size)
        mean, scale = normalisation(processor, rescale)
        geometry = read_input_geometry(processor, patch_size)
        _check_sizes(geometry)
        small = _scale_down(processor)  # a probe of the largest inputs would take seconds
        channel_mean, channel_scale = (np.asarray(tensor, np.float32)[0] for tensor in (mean, scale))
        check_processor(small, read_input_geometry(small, 1), channel_mean, channel_scale, rescale=rescale)
    except ModelError as error:
        raise ModelError(f"--model {checkpoint.name}: {error}") from None
    except Exception as error:  # settings from elsewhere: any value, and so any exception
        reason = f"{type(error).__name__}: {one_line(error, _ERROR_LETTERS)}"
        raise ModelError(
            f"--model {checkpoint.name}: the image processor {type(processor).__name__} can't be used with the "
            f"settings in its preprocessor_config.json ({reason}); correct them"
        ) from None
    return Preprocessing(processor, geometry, mean, scale)


def load_processor(checkpoint: Checkpoint, input_size: tuple[int, int] | None = None) -> Any:
    """Load the checkpoint's image processor, set to another input size if one is given.

    Raises:
        ModelError: there is no preprocessor_config.json, or it can't be read.
    """
    try:
        processor: Any = AutoImageProcessor.from_pretrained(
            checkpoint.folder,
            backend="pil",
            local_files_only=True,
            trust_remote_code=False,  # None would ask on the terminal whether to run the checkpoint's own code
        )
    except Exception as error:  # a damaged file raises any exception of its parser
        raise ModelError(
            f"--model {checkpoint.name}: no usable preprocessor_config.json in {checkpoint.folder}: "
            f"{one_line(error, _ERROR_LETTERS)}; save the image processor beside the weights"
        ) from None
    if input_size is not None:
        resize_input(processor, input_size)
    return processor


def normalisation(processor: Any, rescale: bool = True) -> tuple[Tensor, Tensor]:
    """Combine an image processor's rescale and normalise into one affine step on 0..255: (pixels - mean) * scale.

    Raises:
        ModelError: the step has no finite values.
    """
    factor = float(processor.rescale_factor) if processor.do_rescale and rescale else 1.0
    with np.errstate(all="ignore"):
        mean = _per_channel(processor.image_mean if processor.do_normalize else 0.0) / factor
        scale = factor / _per_channel(processor.image_std if processor.do_normalize else 1.0)
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and scale.all()):
        raise ModelError(
            f"the image processor can't normalise with rescale_factor {processor.rescale_factor}, image_mean "
            f"{processor.image_mean} and image_std {processor.image_std}; correct its preprocessor_config.json"
        )
    shape = (1, 3, 1, 1)
    return torch.tensor(mean).float().reshape(shape), torch.tensor(scale).float().reshape(shape)


def _per_channel(value: Any) -> Doubles:
    """Return one value for each of the three channels; a single number counts for all."""
    return np.array(np.broadcast_to(np.asarray(value, np.float64), 3))


def _check_sizes(geometry: InputGeometry) -> None:
    sides = geometry.input_size
    before_crop = geometry.resize or geometry.within or ((geometry.shortest_edge,) if geometry.shortest_edge else ())
    if min(sides) < 1 or max(sides) > _LARGEST_SIDE or max(before_crop, default=0) > _MOST_CROPPED * max(sides):
        resized = f", after a resize to {'x'.join(map(str, before_crop))}" if before_crop else ""
        raise ModelError(
            f"the image processor gives inputs of {sides[0]}x{sides[1]} pixels{resized}: impossible sizes; correct its "
            "preprocessor_config.json, or set --input-size"
        )


def _scale_down(processor: Any) -> Any:
    """Return the processor, or a copy for a smaller input if its own is large."""
    geometry = read_input_geometry(processor, 1)
    zoom = _PROBED_SIDE / max(geometry.input_size)
    if zoom >= 1:
        return processor
    small = copy.deepcopy(processor)
    height, width = geometry.input_size
    resize_input(small, (max(1, round(height * zoom)), max(1, round(width * zoom))))
    return small
