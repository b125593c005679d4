"""A checkpoint -> a classifier to train: fewer blocks, another input size, another head.

The three changes are made on the weights by name, then loaded into a model of the changed config. So what
is saved later is an ordinary checkpoint that needs no option to load.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from pipeline.errors import ConfigError, ModelError

_MAY_BE_NEW = ("classifier.", "pooler", ".head.")  # what a backbone's checkpoint lacks for some families


@dataclass(frozen=True)
class TrainableClassifier:
    """A model that is ready to train.

    Attributes:
        model: transformers' `...ForImageClassification`, float32 weights, eager attention.
        labels: class names by id.
        head_kept: the head of an earlier classifier with the same classes goes on.
        blocks: encoder blocks that it has.
        blocks_before: encoder blocks that the checkpoint had.
    """

    model: Any
    labels: tuple[str, ...]
    head_kept: bool
    blocks: int
    blocks_before: int


def build_classifier(
    folder: Path, labels: Sequence[str], *, input_size: int, blocks: int | None, seed: int
) -> TrainableClassifier:
    """Load a backbone or a classifier and give it the wanted blocks, input size and classes.

    Args:
        folder: checkpoint in Hugging Face's layout.
        labels: class names.
        input_size: side of the model's input in pixels; position embeddings are resampled to it.
        blocks: keep this many of the first encoder blocks; None keeps all.
        seed: draws a new head.

    Raises:
        ConfigError: the patch size does not divide the input size, or there are not so many blocks.
        ModelError: the checkpoint's weights do not fit its family.
    """
    torch.manual_seed(seed)
    native = _load_native(folder)
    before = vision_config(native.config)
    _check(before, input_size, blocks)
    head_kept = _is_classifier(native.config) and set(native.config.id2label.values()) == set(labels)
    if head_kept:
        labels = [native.config.id2label[place] for place in sorted(native.config.id2label)]
    config = _changed_config(native.config, labels, input_size, blocks or before.num_hidden_layers)
    config.architectures = [type(native).__name__]  # DeiT's family is otherwise ambiguous
    model = AutoModelForImageClassification.from_config(config, attn_implementation="eager").float()
    wanted = model.state_dict()
    state = native.state_dict()
    if not head_kept:
        state = {name: tensor for name, tensor in state.items() if not is_head(name)}
    fitted = {
        name: _fit(name, tensor, wanted[name].shape, _grid(before), _grid(vision_config(config)))
        for name, tensor in state.items()
        if name in wanted
    }
    model.load_state_dict(fitted, strict=False)
    return TrainableClassifier(
        model, tuple(labels), head_kept, vision_config(config).num_hidden_layers, before.num_hidden_layers
    )


def build_processor(folder: Path, input_size: int) -> Any:
    """The checkpoint's preprocessing with one change: the whole photo, stretched to the input's square.

    A centre crop would cut off the border, and the defect may be there.

    Raises:
        ModelError: the checkpoint does not say how its input is made.
    """
    from transformers import ViTImageProcessorPil

    try:
        source = AutoImageProcessor.from_pretrained(folder, backend="pil")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"--model {folder}: no usable preprocessor_config.json ({reason}); fetch it again") from None
    kept = {
        name: getattr(source, name)
        for name in ("resample", "rescale_factor", "do_rescale", "do_normalize", "image_mean", "image_std")
    }
    return ViTImageProcessorPil(
        do_resize=True, size={"height": input_size, "width": input_size}, do_convert_rgb=True, **kept
    )


def is_head(parameter: str) -> bool:
    """Whether a parameter belongs to the classification head (one DeiT has two heads)."""
    return "classifier" in parameter.partition(".")[0]


def vision_config(config: Any) -> Any:
    """The part of a config that describes the image encoder (CLIP and SigLIP nest it)."""
    return getattr(config, "vision_config", config)


def encoder_blocks(model: Any) -> str:
    """Name of the module list that holds the encoder's blocks."""
    count = vision_config(model.config).num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return str(name)
    raise ModelError(f"{type(model).__name__}: has no list of {count} encoder blocks; use a plain vision transformer")


def resample_positions(tokens: torch.Tensor, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """Resample the grid part of position embeddings, bicubic; rows before the grid stay.

    Args:
        tokens: (P + old_h * old_w, C).
        old: grid height and width.
        new: wanted grid height and width.

    Returns:
        (P + new_h * new_w, C).
    """
    prefix = tokens.shape[0] - old[0] * old[1]
    grid = tokens[prefix:].reshape(1, *old, -1).permute(0, 3, 1, 2)  # (1, C, old_h, old_w)
    grid = interpolate(grid.float(), new, mode="bicubic", align_corners=False)
    return torch.cat([tokens[:prefix], grid[0].flatten(1).T.to(tokens.dtype)])


def _load_native(folder: Path) -> Any:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        config = AutoConfig.from_pretrained(folder)
        model, report = AutoModelForImageClassification.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    except Exception as error:  # a damaged file raises whatever its parser raises
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"--model {folder}: can't be loaded for classification ({reason}); use another one") from None
    finally:
        transformers_logging.set_verbosity(verbosity)
    lacking = sorted(key for key in report["missing_keys"] if not any(part in key for part in _MAY_BE_NEW))
    if lacking:
        raise ModelError(f"--model {folder}: lacks {len(lacking)} weights, {lacking[0]!r} first; fetch it again")
    return model


def _is_classifier(config: Any) -> bool:
    return any("ImageClassification" in name for name in config.architectures or [])


def _grid(vision: Any) -> tuple[int, int]:
    height, width = _pair(vision.image_size)
    patch_height, patch_width = _pair(vision.patch_size)
    return height // patch_height, width // patch_width


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _check(vision: Any, input_size: int, blocks: int | None) -> None:
    patch = max(_pair(vision.patch_size))
    if input_size % patch:
        below, above = max(1, input_size // patch) * patch, (input_size // patch + 1) * patch
        raise ConfigError(f"input_size = {input_size}: not divisible by the patch size {patch}; use {below} or {above}")
    if blocks is not None and blocks > vision.num_hidden_layers:
        raise ConfigError(f"blocks = {blocks}: the model has only {vision.num_hidden_layers}; use at most that many")


def _changed_config(config: Any, labels: Sequence[str], input_size: int, blocks: int) -> Any:
    changed = copy.deepcopy(config)
    vision = vision_config(changed)
    if blocks != vision.num_hidden_layers and hasattr(vision, "stage_names"):
        # DINOv2 names a stage per block; the names and the picked ones must match the new count
        vision.stage_names = ["stem", *(f"stage{place}" for place in range(1, blocks + 1))]
        vision.set_output_features_output_indices(out_features=None, out_indices=None)
    vision.num_hidden_layers = blocks
    vision.image_size = input_size
    changed.id2label = dict(enumerate(labels))
    changed.label2id = {label: place for place, label in enumerate(labels)}
    changed.dtype = torch.float32
    return changed


def _fit(name: str, tensor: torch.Tensor, shape: Any, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    if tensor.shape == shape:
        return tensor
    if name.endswith("relative_position_bias_table"):  # BEiT: a grid of offsets, then three rows for its token
        spans = [(2 * height - 1, 2 * width - 1) for height, width in (old, new)]
        return torch.cat([resample_positions(tensor[:-3], *spans), tensor[-3:]])
    if name.endswith("position_embeddings"):
        return resample_positions(tensor[0], old, new)[None]
    return resample_positions(tensor, old, new)
