"""Capture of head-fused attention during the forward pass.

`output_attentions=True` keeps every layer's (B, heads, N, N), 256 MB an image for ViT-L at 384 pixels, and
silently returns nothing under SDPA. Instead one attention function is registered with transformers; it
computes the layer's output as eager attention does and hands the fused (B, N, N) map to a recorder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from pipeline.rollout import HeadFusion, fuse_heads

IMPLEMENTATION = "vitrollout"


@dataclass
class Recorder:
    """Collects one (B, N, N) float32 tensor a layer, from the first to the last."""

    head_fusion: HeadFusion
    layers: list[Tensor] = field(default_factory=list)


_recorder: ContextVar[Recorder | None] = ContextVar("vitrollout_recorder", default=None)


@contextmanager
def record_attention(head_fusion: HeadFusion) -> Iterator[Recorder]:
    """Record the attention of every layer that runs inside the block."""
    recorder = Recorder(head_fusion)
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


def recorded_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention by the signature of `transformers.AttentionInterface`, recorded where a recorder is active.

    Args:
        module: the attention layer.
        query, key, value: (B, heads, N, head width).
        attention_mask: added to the scores; BEiT's relative position bias comes this way.
        scaling: of the scores; head width ** -0.5 by default.
        dropout: not applied, this is for inference only.

    Returns:
        (B, N, heads, head width) and None.
    """
    # scaled before the product: unscaled scores can exceed float16
    query = query * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    scores = (query @ key.transpose(-1, -2)).float()  # (B, heads, N, N)
    if attention_mask is not None:
        scores = scores + attention_mask
    attention = scores.softmax(dim=-1)  # (B, heads, N, N), float32: rounding would show in the rollout
    if (recorder := _recorder.get()) is not None:
        recorder.layers.append(fuse_heads(attention, recorder.head_fusion))  # (B, N, N)
    output = attention.to(value.dtype) @ value  # (B, heads, N, head width)
    return output.transpose(1, 2).contiguous(), None


def select_recorded_attention(model: Any) -> None:
    """Make a transformers model compute its attention here. Weights and logits stay what they were."""
    AttentionInterface.register(IMPLEMENTATION, recorded_attention)
    model.set_attn_implementation(IMPLEMENTATION)


def check_captures(layers: list[Tensor], *, layer_count: int, batch: int, tokens: int) -> None:
    """Make sure that what was captured is what the maps are computed from.

    Raises:
        RuntimeError: a number of layers or a shape differs from (batch, tokens, tokens).
    """
    shapes = {tuple(layer.shape) for layer in layers}
    if len(layers) != layer_count or shapes != {(batch, tokens, tokens)}:
        raise RuntimeError(
            f"captured {len(layers)} layers of shapes {sorted(shapes)}, "
            f"expected {layer_count} of {(batch, tokens, tokens)}: this model's attention can't be read"
        )
