"""Which parameters are trained, and how fast: by their depth in the model."""

from typing import Any

from pipeline.errors import ConfigError
from pipeline.training.backbone import encoder_blocks, is_head


def parameter_depths(model: Any) -> dict[str, int]:
    """Depth of each parameter by name: 0 before the first block, 1.. for the blocks, one more after the last."""
    container = encoder_blocks(model) + "."
    depths, depth, last = {}, 0, len(model.get_submodule(container[:-1]))
    for name, _ in model.named_parameters():
        if name.startswith(container):
            depth = int(name[len(container) :].partition(".")[0]) + 1
            depths[name] = depth
        else:
            depths[name] = 0 if depth == 0 else last + 1
    return depths


def freeze_below(model: Any, train_blocks: int | None) -> None:
    """Train the last blocks only, with what comes after them; None trains everything, 0 the head alone.

    Raises:
        ConfigError: there are not so many blocks.
    """
    if train_blocks is None:
        return
    depths = parameter_depths(model)
    top = max(depths.values())
    if train_blocks >= top:
        raise ConfigError(f"train_blocks = {train_blocks}: the model has {top - 1} blocks; use at most that, or all")
    for name, parameter in model.named_parameters():
        trained = is_head(name) if train_blocks == 0 else depths[name] >= top - train_blocks
        parameter.requires_grad_(trained)


def parameter_groups(model: Any, rate: float, layer_decay: float, weight_decay: float) -> list[dict[str, Any]]:
    """Optimizer groups: the rate falls by `layer_decay` a block from the head down.

    Biases, norms, layer scales, positions and special tokens get no weight decay.
    """
    depths = parameter_depths(model)
    top = max(depths.values())
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not any(part in name for part in ("position", "token", "relative_"))
        group = groups.setdefault(
            (depths[name], decays),
            {
                "params": [],
                "lr": rate * layer_decay ** (top - depths[name]),
                "weight_decay": weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())
