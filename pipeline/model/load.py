"""The files of a checkpoint -> a classifier on a device."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from pipeline.errors import ModelError, one_line
from pipeline.maps.capture import install_recording_attention
from pipeline.model.architecture import encoder_layers, size_pair, vision_config
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.classifier import Classifier
from pipeline.model.device import Precision
from pipeline.model.families import FAMILIES
from pipeline.model.input_geometry import InputGeometry, read_input_geometry

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_ERROR_LETTERS = 300  # of an error from a library


def load_classifier(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: Precision,
    input_size: tuple[int, int] | None = None,
    rescale: bool = True,
) -> Classifier:
    """Load a checkpoint of a supported family, head included.

    Args:
        checkpoint: its files.
        device: a device as torch names it.
        precision: precision of the forward pass.
        input_size: (H, W) in pixels instead of the checkpoint's own; position embeddings are interpolated.
        rescale: divide pixels by 255 first, if the image processor says so; False: never.

    Raises:
        ModelError: the family has no rollout, the head or other weights are missing, files are damaged, or the
            model can't take the input size.
    """
    transformers_logging.set_verbosity_error()  # the reasons for its warnings are checked here
    transformers_logging.disable_progress_bar()
    processor = load_processor(checkpoint, input_size)
    network = _load_network(checkpoint, _DTYPES[precision]).to(device).eval().requires_grad_(False)
    install_recording_attention(network)
    config, vision = network.config, vision_config(network.config)
    family = FAMILIES[checkpoint.model_type]
    readout = family.readout_tokens
    mean, scale = normalisation(processor, rescale)
    geometry = read_input_geometry(processor, _patch_size(checkpoint, vision))
    native_size = size_pair(vision.image_size)
    _check_input_size(checkpoint, geometry, native_size)
    return Classifier(
        network=network,
        processor=processor,
        geometry=geometry,
        labels=tuple(str(config.id2label[index]) for index in range(config.num_labels)),
        encoder=encoder_layers(network),
        readout_tokens=readout,
        prefix_tokens=readout + (int(vision.num_register_tokens) if family.has_registers else 0),
        interpolate_positions=geometry.input_size != native_size,
        mean=mean.to(device),
        scale=scale.to(device),
    )


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
        _resize_input(processor, input_size)
    return processor


def normalisation(processor: Any, rescale: bool = True) -> tuple[Tensor, Tensor]:
    """Combine an image processor's rescale and normalise into one affine step on 0..255: (pixels - mean) * scale."""
    factor = float(processor.rescale_factor) if processor.do_rescale and rescale else 1.0
    mean = np.array(processor.image_mean if processor.do_normalize else [0.0] * 3) / factor
    scale = factor / np.array(processor.image_std if processor.do_normalize else [1.0] * 3)
    shape = (1, 3, 1, 1)
    return torch.tensor(mean).float().reshape(shape), torch.tensor(scale).float().reshape(shape)


def _resize_input(processor: Any, input_size: tuple[int, int]) -> None:
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


def _load_network(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    if not checkpoint.weight_files():
        raise ModelError(f"--model {checkpoint.name}: no weights (*.safetensors, *.bin) in {checkpoint.folder}")
    try:
        network, report = AutoModelForImageClassification.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            attn_implementation="eager",
        )
    except Exception as error:  # a damaged file raises any exception of its parser
        raise ModelError(
            f"--model {checkpoint.name}: can't load {checkpoint.folder}: {one_line(error, _ERROR_LETTERS)}; "
            "fetch the checkpoint again"
        ) from error
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    if any("classifier" in key or key.startswith("head") for key in missing):
        raise ModelError(
            f"--model {checkpoint.name}: it has no classification head, so it can't label anything; "
            "make a classifier of it with: vitrollout finetune DATA --model "
            f"{checkpoint.name} --out MODEL"
        )
    if missing:
        raise ModelError(
            f"--model {checkpoint.name}: {len(missing)} weights are missing ({missing[0]}, ...); fetch it again"
        )
    return network


def _patch_size(checkpoint: Checkpoint, vision: Any) -> int:
    height, width = size_pair(vision.patch_size)
    if height != width:
        raise ModelError(f"--model {checkpoint.name}: patches of {height}x{width} pixels; use one with square patches")
    return height


def _check_input_size(checkpoint: Checkpoint, geometry: InputGeometry, native_size: tuple[int, int]) -> None:
    height, width = geometry.input_size
    if min(geometry.grid) < 1:
        raise ModelError(
            f"--model {checkpoint.name}: an input of {height}x{width} pixels holds no patch of {geometry.patch_size}; "
            "use a larger --input-size"
        )
    if geometry.input_size != native_size and native_size[0] != native_size[1]:
        # transformers takes the positions for a square grid when it interpolates them
        raise ModelError(
            f"--model {checkpoint.name}: positions of a grid that is not square can't be interpolated to an input of "
            f"{height}x{width} pixels; use --input-size {native_size[0]}x{native_size[1]}"
        )
