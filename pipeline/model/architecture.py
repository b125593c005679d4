"""Sizes and layers in transformers models and their configs."""

from typing import Any

import torch
from torch import nn

from pipeline.errors import ModelError


def size_pair(size: Any) -> tuple[int, int]:
    """Return (height, width) of a config's size, which may be a single number for a square."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def vision_config(config: Any) -> Any:
    """Return the image encoder's part of a config (CLIP and SigLIP nest it)."""
    return getattr(config, "vision_config", config)


def encoder_name(model: Any) -> str:
    """Return the name of the module list with the encoder's layers.

    Raises:
        ModelError: there is no list of this length.
    """
    count = int(vision_config(model.config).num_hidden_layers)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return str(name)
    raise ModelError(f"{type(model).__name__}: has no list of {count} encoder blocks; use a plain vision transformer")


def encoder_layers(model: Any) -> nn.ModuleList:
    """Return the encoder's layers, first to last; raises as `encoder_name`."""
    layers: nn.ModuleList = model.get_submodule(encoder_name(model))
    return layers


def find_weights_not_finite(model: Any) -> list[str]:
    """Return the names of parameters with a NaN or an infinite value."""
    parameters = model.named_parameters()
    return [name for name, weight in parameters if weight.numel() and not all(map(torch.isfinite, weight.aminmax()))]
