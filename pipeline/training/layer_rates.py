"""Trainable parameters and their learning rates, by depth in the model."""

from typing import Any

from pipeline.errors import ConfigError
from pipeline.model.architecture import encoder_name
from pipeline.training.backbone import is_head

_NEVER_DECAYED = ("position", "token", "relative_")  # parts of names: positions and special tokens


def parameter_depths(model: Any) -> dict[str, int]:
    """Return the depth of each parameter by name: 0 before the first block, 1, 2, ... for the blocks, then one more."""
    prefix = encoder_name(model) + "."
    last_block = len(model.get_submodule(prefix[:-1]))
    depths, depth = {}, 0
    for name, _ in model.named_parameters():
        if name.startswith(prefix):
            depth = int(name.removeprefix(prefix).partition(".")[0]) + 1
            depths[name] = depth
        else:
            depths[name] = 0 if depth == 0 else last_block + 1
    return depths


def freeze_below(model: Any, train_blocks: int | None) -> None:
    """Freeze everything below the last blocks.

    Args:
        model: the classifier; changed in place.
        train_blocks: number of trainable blocks, with everything after them; None trains the whole model, 0 the head
            alone.

    Raises:
        ConfigError: the model has fewer blocks.
    """
    if train_blocks is None:
        return
    depths = parameter_depths(model)
    top = max(depths.values())
    if train_blocks >= top:
        raise ConfigError(f"train_blocks = {train_blocks}: the model has {top - 1} blocks; use at most that, or all")
    for name, parameter in model.named_parameters():
        trainable = is_head(name) if train_blocks == 0 else depths[name] >= top - train_blocks
        parameter.requires_grad_(trainable)


def parameter_groups(
    model: Any, *, learning_rate: float, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return the optimizer's groups of trainable parameters, one per depth, with and without weight decay.

    Biases, norms, layer scales, positions and special tokens get no weight decay.

    Args:
        model: the classifier.
        learning_rate: rate of the head.
        layer_decay: factor on the rate per block, from the head down.
        weight_decay: decay of matrices.
    """
    depths = parameter_depths(model)
    top = max(depths.values())
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = depths[name]
        decayed = parameter.ndim > 1 and not any(part in name for part in _NEVER_DECAYED)
        rate = learning_rate * layer_decay ** (top - depth)
        group = {"params": [], "lr": rate, "weight_decay": weight_decay if decayed else 0.0}
        groups.setdefault((depth, decayed), group)["params"].append(parameter)
    return list(groups.values())
