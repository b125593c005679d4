"""A checkpoint -> a classifier to train: fewer blocks, another input size, another head.

The three changes are made on the weights by name, then loaded into a model with the changed config. So the saved
result is an ordinary checkpoint: it loads without any option.
"""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from pipeline.errors import ConfigError, ModelError, VitrolloutError, one_line
from pipeline.model.adapter import hide_adapter, merge_adapter
from pipeline.model.architecture import find_weights_not_finite, size_pair, vision_config
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.config import load_config
from pipeline.model.processor import normalisation
from pipeline.training.classes import read_class_names

_OFTEN_MISSING = ("classifier.", "pooler", ".head.")  # in the checkpoints of some families' backbones
_ERROR_LETTERS = 200  # of an error from a library


@dataclass(frozen=True)
class TrainableClassifier:
    """A classifier before its training.

    Attributes:
        model: transformers' `...ForImageClassification`, float32 weights, eager attention.
        labels: class names by id.
        head_kept: the head comes from an earlier classifier with the same classes, or with the first of them.
        blocks: number of encoder blocks.
        blocks_before: number of encoder blocks in the checkpoint.
        new_classes: classes added to a kept head.
        input_size_before: side of the checkpoint's own input in pixels, the shorter one.
    """

    model: Any
    labels: tuple[str, ...]
    head_kept: bool
    blocks: int
    blocks_before: int
    new_classes: tuple[str, ...] = ()
    input_size_before: int = 0


def build_classifier(
    folder: Path, labels: Sequence[str], *, input_size: int, blocks: int | None, seed: int
) -> TrainableClassifier:
    """Load a backbone or a classifier and change its blocks, input size and classes.

    Args:
        folder: checkpoint in Hugging Face's layout.
        labels: class names. The head of a classifier is kept if its classes are the same, then in its own order, or if
            they are the first ones in their order: their rows of the head are copied, the others are new.
        input_size: side of the model's input in pixels; position embeddings are resampled to it.
        blocks: number of first encoder blocks to keep; None keeps all.
        seed: seed of a new head.

    Raises:
        ConfigError: the patch size does not divide the input size, or the model has fewer blocks.
        ModelError: the checkpoint's weights do not fit its family.
    """
    torch.manual_seed(seed)
    try:
        return _change_classifier(_load_original(folder), labels, input_size, blocks)
    except VitrolloutError:
        raise
    except Exception as error:  # damaged files, or values from elsewhere, raise any exception
        reason = one_line(error, _ERROR_LETTERS)
        raise ModelError(f"--model {folder}: can't be loaded for classification ({reason}); use another one") from None


def _change_classifier(
    original: Any, labels: Sequence[str], input_size: int, blocks: int | None
) -> TrainableClassifier:
    vision = vision_config(original.config)
    _check_changes(vision, input_size, blocks)
    known = read_class_names(original.config.to_dict())
    if sorted(known) == sorted(labels):
        labels = known
    head_kept = bool(known) and tuple(labels[: len(known)]) == known
    config = _change_config(original.config, labels, input_size, blocks or vision.num_hidden_layers)
    config.architectures = [type(original).__name__]  # DeiT's family is otherwise ambiguous
    model = AutoModelForImageClassification.from_config(config, attn_implementation="eager").float()
    _copy_weights(original, model, with_head=head_kept)
    return TrainableClassifier(
        model,
        tuple(labels),
        head_kept,
        vision_config(config).num_hidden_layers,
        vision.num_hidden_layers,
        new_classes=tuple(labels[len(known) :]) if head_kept else (),
        input_size_before=min(size_pair(vision.image_size)),
    )


def build_processor(folder: Path, input_size: int, resize: Literal["stretch", "pad"] = "stretch") -> Any:
    """Load the checkpoint's preprocessing with one change: the whole photo, stretched or padded to the input's square.

    A centre crop would cut off the border, and with it the defects there. transformers pads in its centre crop, if the
    photo is smaller than that.

    Raises:
        ModelError: the checkpoint has no usable preprocessor_config.json.
    """
    from transformers import ViTImageProcessorPil

    try:
        source = AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
        normalisation(source)  # refuses values that can't be computed with
        names = ("resample", "rescale_factor", "do_rescale", "do_normalize", "image_mean", "image_std")
        unchanged = {name: getattr(source, name) for name in names}
    except ModelError as error:
        raise ModelError(f"--model {folder}: {error}") from None
    except Exception as error:  # settings from elsewhere: any value, and so any exception
        reason = one_line(error, _ERROR_LETTERS)
        raise ModelError(f"--model {folder}: no usable preprocessor_config.json ({reason}); fetch it again") from None
    square = {"height": input_size, "width": input_size}
    if resize == "stretch":
        return ViTImageProcessorPil(do_resize=True, size=square, do_convert_rgb=True, **unchanged)
    within = {"max_height": input_size, "max_width": input_size}
    return ViTImageProcessorPil(
        do_resize=True, size=within, do_center_crop=True, crop_size=square, do_convert_rgb=True, **unchanged
    )


def is_head(parameter: str) -> bool:
    """Return True for a parameter of the classification head (some DeiTs have two heads)."""
    return "classifier" in parameter.partition(".")[0]


def resample_positions(tokens: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Resample the grid part of position embeddings, bicubic; rows before the grid stay.

    Args:
        tokens: (P + old_h * old_w, C).
        old: height and width of the present grid.
        new: height and width of the resampled grid.

    Returns:
        (P + new_h * new_w, C).
    """
    prefix = tokens.shape[0] - old[0] * old[1]
    grid = tokens[prefix:].reshape(1, *old, -1).permute(0, 3, 1, 2)  # (1, C, old_h, old_w)
    grid = interpolate(grid.float(), new, mode="bicubic", align_corners=False)  # (1, C, new_h, new_w)
    return torch.cat([tokens[:prefix], grid[0].flatten(1).T.to(tokens.dtype)])


def _load_original(folder: Path) -> Any:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        config = load_config(resolve_checkpoint(str(folder)))
        with hide_adapter(folder) as plain:
            model, report = AutoModelForImageClassification.from_pretrained(
                plain, config=config, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
        model = merge_adapter(model, folder)
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing = sorted(key for key in report["missing_keys"] if not any(part in key for part in _OFTEN_MISSING))
    if missing:
        raise ModelError(f"--model {folder}: lacks {len(missing)} weights, {missing[0]!r} first; fetch it again")
    if wrong := [name for name in find_weights_not_finite(model) if not is_head(name)]:
        raise ModelError(f"--model {folder}: {len(wrong)} weights are not finite ({wrong[0]}, ...); use another one")
    return model


def _grid_size(vision: Any) -> tuple[int, int]:
    """Return height and width of the patch grid."""
    height, width = size_pair(vision.image_size)
    patch_height, patch_width = size_pair(vision.patch_size)
    return height // patch_height, width // patch_width


def _check_changes(vision: Any, input_size: int, blocks: int | None) -> None:
    patch = max(size_pair(vision.patch_size))
    if input_size % patch:
        below, above = max(1, input_size // patch) * patch, (input_size // patch + 1) * patch
        raise ConfigError(f"input_size = {input_size}: not divisible by the patch size {patch}; use {below} or {above}")
    if blocks is not None and blocks > vision.num_hidden_layers:
        raise ConfigError(f"blocks = {blocks}: the model has only {vision.num_hidden_layers}; use at most that many")


def _change_config(config: Any, labels: Sequence[str], input_size: int, blocks: int) -> Any:
    changed = copy.deepcopy(config)
    vision = vision_config(changed)
    if blocks != vision.num_hidden_layers and hasattr(vision, "stage_names"):
        # DINOv2 names one stage per block; the names and the selected stages must match the new count
        vision.stage_names = ["stem", *(f"stage{number}" for number in range(1, blocks + 1))]
        vision.set_output_features_output_indices(out_features=None, out_indices=None)
    vision.num_hidden_layers = blocks
    vision.image_size = input_size
    changed.id2label = dict(enumerate(labels))
    changed.label2id = {label: index for index, label in enumerate(labels)}
    changed.problem_type = "single_label_classification"  # the starting model's may have been another one
    changed.dtype = torch.float32
    return changed


def _copy_weights(original: Any, model: Any, *, with_head: bool) -> None:
    """Copy the weights common to both models, position embeddings resampled to the new grid.

    Of the head, the rows of the old classes are copied; new classes keep the rows they were made with.
    """
    old_grid, new_grid = (_grid_size(vision_config(network.config)) for network in (original, model))
    fresh = model.state_dict()
    weights = {}
    for name, weight in original.state_dict().items():
        if name in fresh and is_head(name) and with_head:
            weights[name] = torch.cat([weight, fresh[name][len(weight) :]])
        elif name in fresh and not is_head(name):
            weights[name] = _resize_weight(name, weight, fresh[name].shape, old_grid, new_grid)
    model.load_state_dict(weights, strict=False)


def _resize_weight(name: str, weight: Tensor, shape: Any, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    if weight.shape == shape:
        return weight
    if name.endswith("relative_position_bias_table"):  # BEiT: a grid of offsets, then three rows for its token
        old_offsets, new_offsets = ((2 * height - 1, 2 * width - 1) for height, width in (old, new))
        return torch.cat([resample_positions(weight[:-3], old_offsets, new_offsets), weight[-3:]])
    if name.endswith("position_embeddings"):
        return resample_positions(weight[0], old, new)[None]
    return resample_positions(weight, old, new)
