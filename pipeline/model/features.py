"""The features of a photo: the input of the classification head, taken from the forward pass of its logits."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn


def find_heads(network: nn.Module) -> list[nn.Linear]:
    """Return the layers behind the logits: one, or two for a DeiT with a distillation token."""
    children = network.named_children()
    return [layer for name, layer in children if name.endswith("classifier") and isinstance(layer, nn.Linear)]


@contextmanager
def record_head_inputs(network: nn.Module) -> Iterator[list[Tensor]]:
    """Record the input of each head during a forward pass inside the block, without its graph."""
    recorded: list[Tensor] = []

    def record_input(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        recorded.append(arguments[0].detach())

    with ExitStack() as hooks:
        for head in find_heads(network):
            hooks.callback(head.register_forward_pre_hook(record_input).remove)
        yield recorded


def join_features(head_inputs: Sequence[Tensor], photos: int) -> Tensor:
    """Return the features of a batch, (B, D); the inputs of two heads stand side by side.

    Args:
        head_inputs: by head, (B, width), or with the further rows of `LeGradPass` at the end.
        photos: B.
    """
    return torch.cat([rows[:photos] for rows in head_inputs], dim=1)
