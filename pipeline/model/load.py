"""The files of a checkpoint -> a classifier on a device."""

import logging
import re
from collections.abc import Iterable
from typing import Any

import torch
from transformers import AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from pipeline.errors import ModelError
from pipeline.maps.capture import install_recording_attention
from pipeline.model.adapter import hide_adapter, merge_adapter
from pipeline.model.architecture import encoder_layers, find_weights_not_finite, size_pair, vision_config
from pipeline.model.check_checkpoint import check_checkpoint
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.classifier import Classifier
from pipeline.model.config import load_config, not_loadable
from pipeline.model.device import Precision, limit_torch_threads
from pipeline.model.families import FAMILIES
from pipeline.model.input_geometry import InputGeometry
from pipeline.model.processor import open_preprocessing

log = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LAYER_NUMBER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


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
        ModelError: the family has no rollout, the head or other weights are missing, files are damaged, the image
            processor does more than is supported, or the model can't take the input size.
    """
    check_checkpoint(checkpoint)
    head = checkpoint.read_head()
    if device == "cpu":
        limit_torch_threads()
    _silence_transformers()
    config = load_config(checkpoint)
    vision, family = vision_config(config), FAMILIES[checkpoint.model_type]
    preprocessing = open_preprocessing(
        checkpoint, _patch_size(checkpoint, vision), input_size=input_size, rescale=rescale
    )
    native_size = size_pair(vision.image_size)
    _check_input_size(checkpoint, preprocessing.geometry, native_size)
    network = _load_network(checkpoint, config, precision).to(device).eval().requires_grad_(False)
    install_recording_attention(network)
    readout = family.readout_tokens
    return Classifier(
        network=network,
        processor=preprocessing.processor,
        geometry=preprocessing.geometry,
        labels=head.labels,
        scoring=head.scoring,
        is_binary=head.is_binary,
        encoder=encoder_layers(network),
        readout_tokens=readout,
        prefix_tokens=readout + (int(vision.num_register_tokens) if family.has_registers else 0),
        interpolate_positions=preprocessing.geometry.input_size != native_size,
        mean=preprocessing.mean.to(device),
        scale=preprocessing.scale.to(device),
    )


def _silence_transformers() -> None:
    """Turn its messages off: the reasons for them are checked here."""
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()


def _load_network(checkpoint: Checkpoint, config: Any, precision: Precision) -> Any:
    if not checkpoint.weight_files():
        variants = sorted({file.name for file in checkpoint.folder.glob("*.safetensors")} - {"model.safetensors"})
        hint = f"; is {variants[0]} meant? name it model.safetensors" if variants else ""
        raise ModelError(f"--model {checkpoint.name}: no weights (*.safetensors, *.bin) in {checkpoint.folder}{hint}")
    try:
        with hide_adapter(checkpoint.folder) as folder:
            network, report = AutoModelForImageClassification.from_pretrained(
                folder,
                config=config,
                dtype=_DTYPES[precision],
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, with the sizes
                attn_implementation="eager",
            )
        network = merge_adapter(network, checkpoint.folder)
    except Exception as error:  # a damaged file raises any exception of its parser
        raise not_loadable(checkpoint, error) from error
    _check_report(checkpoint, report, len(encoder_layers(network)))
    _check_finite(checkpoint, network, precision)
    return network


def _check_report(checkpoint: Checkpoint, report: dict[str, Any], layers: int) -> None:
    """Refuse weights that are missing or have another shape; warn of further layers.

    Raises:
        ModelError: names the first of them.
    """
    missing = sorted(report["missing_keys"])
    if any(_is_head(key) for key in missing):
        raise ModelError(
            f"--model {checkpoint.name}: it has no classification head, so it can't label anything; "
            "make a classifier of it with: vitrollout finetune DATA --model "
            f"{checkpoint.name} --out MODEL"
        )
    if missing:
        raise ModelError(
            f"--model {checkpoint.name}: {len(missing)} weights are missing ({missing[0]}, ...); fetch it again"
        )
    for key, held, described in sorted(report.get("mismatched_keys", ()), key=lambda item: not _is_head(item[0])):
        if _is_head(key) and held[0] != described[0]:
            raise ModelError(
                f"--model {checkpoint.name}: id2label in its config.json names {described[0]} classes, the head "
                f"has {held[0]} outputs; give each output its name"
            )
        raise not_loadable(checkpoint, f"{key} is {tuple(held)}, by config.json {tuple(described)}")
    if (held := _count_layers(report.get("unexpected_keys", ()))) > layers:
        log.warning(
            "%s has weights of %d layers, and by its config.json %d: the last are left out",
            checkpoint.name,
            held,
            layers,
        )


def _count_layers(keys: Iterable[str]) -> int:
    """Count the layers of an image encoder by the largest number in names of weights."""
    numbers = [_LAYER_NUMBER.search(key) for key in keys if "text" not in key and "decoder" not in key]
    return max((int(number[1]) + 1 for number in numbers if number), default=0)


def _is_head(key: str) -> bool:
    return "classifier" in key or key.startswith("head")


def _check_finite(checkpoint: Checkpoint, network: Any, precision: Precision) -> None:
    """Refuse weights that are NaN or infinite, also by the precision."""
    wrong = find_weights_not_finite(network)
    if wrong:
        remedy = "use --precision fp32, or another checkpoint" if precision == "fp16" else "use another checkpoint"
        raise ModelError(
            f"--model {checkpoint.name}: {len(wrong)} weights are not finite in {precision} ({wrong[0]}, ...); {remedy}"
        )


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
