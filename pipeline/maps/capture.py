"""Capture of head-fused attention during the forward pass.

`output_attentions=True` keeps every layer's (B, heads, N, N), 256 MB per image for ViT-L at 384 pixels, and silently
returns nothing under SDPA. Instead, one attention function is registered with transformers. It computes the layer's
output as eager attention does, and hands the fused (B, N, N) map to a recorder.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import AttentionInterface

from pipeline.maps.attention import CapturedAttention, HeadFusion, fuse_heads

IMPLEMENTATION = "vitrollout"
_CACHE_BYTES = 4 * 2**20  # share of the cache for one core; half and twice as much are as fast

# query (scaled), key, value (B, heads, N, head width) and mask -> output, the same shape
AttentionFunction = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@dataclass
class AttentionRecorder:
    """The attention of all layers, collected from the first to the last.

    Attributes:
        readout_tokens: leading tokens read by the classifier.
        head_fusion: how a layer's heads are fused; None: attention is not recorded.
        attend: computes the output instead, in a pass with a gradient.
        heads_layer: index of a layer whose heads are also kept apart; None: no layer.
        layers: one (B, N, N) float32 tensor per layer.
        shapes: (B, N, N) of every layer so far, recorded or not.
        value: (B, heads, N, head width), value vectors of the latest layer.
        value_norm_ratios: one (B, N) float32 tensor per layer, from `record_value_norm_ratios`.
        heads: (B, heads, N), the mean of the readout tokens' rows (or of all rows) in each head; each sums to 1.
    """

    readout_tokens: int
    head_fusion: HeadFusion | None = None
    attend: AttentionFunction | None = None
    heads_layer: int | None = None
    layers: list[Tensor] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    value: Tensor | None = None
    value_norm_ratios: list[Tensor] = field(default_factory=list)
    heads: Tensor | None = None

    def captured_attention(self, discard_ratio: float) -> CapturedAttention:
        """Return the recorded layers for the methods of `pipeline.maps.rollout`."""
        return CapturedAttention(self.layers, self.readout_tokens, discard_ratio, self.value_norm_ratios)

    def compute_output(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Compute one layer's output, (B, heads, N, head width), and record its attention."""
        self.shapes.append((query.shape[0], query.shape[2], key.shape[2]))
        self.value = value
        if self.attend is None:
            return self._record_layer(query, key, value, mask)
        if self.head_fusion is not None:
            self._record_layer(query, key, value, mask)
        return self.attend(query, key, value, mask)

    @torch.no_grad()
    def _record_layer(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Compute attention in blocks of query rows; record it and return its output."""
        batch, heads, tokens, _ = query.shape
        dtype = torch.promote_types(query.dtype, torch.float32)
        fused = query.new_empty(batch, tokens if self.head_fusion else 0, tokens, dtype=dtype)
        head_rows = query.new_zeros(batch, heads, tokens, dtype=dtype)
        keep_heads = len(self.layers) == self.heads_layer
        readout = self.readout_tokens or tokens
        output = torch.empty_like(query)
        for images, rows in _cache_blocks(query):
            bias = None if mask is None else mask.expand(batch, -1, -1, -1)[images, :, rows]
            attention = attention_weights(query[images, :, rows], key[images], bias)  # (b, heads, rows, N)
            output[images, :, rows] = attention.to(value.dtype) @ value[images]
            if keep_heads:
                head_rows[images] += attention[:, :, : max(0, readout - rows.start)].sum(dim=2) / readout
            if self.head_fusion is not None:
                fused[images, rows] = fuse_heads(attention, self.head_fusion)
        if keep_heads:
            self.heads = head_rows
        if self.head_fusion is not None:
            self.layers.append(fused)
        return output


def _cache_blocks(query: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield images and query rows with scores small enough for the processor's cache; on a device, everything at once.

    Scores in the cache are read again at the speed of arithmetic, so softmax, fusion and the product with the values
    cost little beside the scores themselves.
    """
    batch, heads, tokens, _ = query.shape
    block_rows = _CACHE_BYTES // (4 * heads * tokens) if query.device.type == "cpu" else batch * tokens
    images, rows = max(1, block_rows // tokens), max(1, min(tokens, block_rows))
    for image in range(0, batch, images):
        for row in range(0, tokens, rows):
            yield slice(image, image + images), slice(row, row + rows)


_active_recorder: ContextVar[AttentionRecorder | None] = ContextVar("vitrollout_recorder", default=None)


@contextmanager
def record_attention(recorder: AttentionRecorder) -> Iterator[AttentionRecorder]:
    """Let a recorder collect the attention of every layer inside the block."""
    token = _active_recorder.set(recorder)
    try:
        yield recorder
    finally:
        _active_recorder.reset(token)


def attend_and_record(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute attention with the signature of `transformers.AttentionInterface`, for the active recorder if any.

    Args:
        module: the attention layer.
        query, key, value: (B, heads, N, head width).
        attention_mask: added to the scores; carries BEiT's relative position bias.
        scaling: of the scores; head width ** -0.5 by default.
        dropout: not applied, this is for inference only.

    Returns:
        (B, N, heads, head width) and None.
    """
    # scaled before the product: unscaled scores can exceed float16
    query = query * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    recorder = _active_recorder.get() or AttentionRecorder(
        readout_tokens=0
    )  # outside record_attention: a recorder without a reader
    output = recorder.compute_output(query, key, value, attention_mask)
    return output.transpose(1, 2).contiguous(), None


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Compute the softmax of the scores, (B, heads, N, N) in float32 or wider: rounding would show in the maps.

    Args:
        query: (B, heads, N, head width), scaled.
        key: (B, heads, N, head width).
        mask: added to the scores, or None.
    """
    scores = query @ key.transpose(-1, -2)  # (B, heads, N, N)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    if mask is not None:
        scores = scores.to(dtype) + mask
    return scores.softmax(dim=-1, dtype=dtype)


def install_recording_attention(model: Any) -> None:
    """Make a transformers model compute its attention here. Weights and logits stay the same."""
    AttentionInterface.register(IMPLEMENTATION, attend_and_record)
    model.set_attn_implementation(IMPLEMENTATION)


@contextmanager
def record_value_norm_ratios(encoder: nn.ModuleList, recorder: AttentionRecorder) -> Iterator[None]:
    """Record each layer's (B, N) ratio of norms: transformed value vector over token, in float32.

    Value vectors are transformed by the output projection and, in families with one, the layer scale.
    """

    def record_layer(layer: Any, arguments: tuple[Tensor, ...], _: Tensor) -> None:
        attention = layer.attention if hasattr(layer, "attention") else layer.self_attn
        projection = attention.o_proj if hasattr(attention, "o_proj") else attention.out_proj
        assert recorder.value is not None
        transformed = linear(recorder.value.detach().transpose(1, 2).flatten(2), projection.weight)  # (B, N, width)
        if hasattr(layer, "layer_scale1"):  # DINOv2
            transformed = layer.layer_scale1(transformed)
        transformed = transformed * getattr(layer, "lambda_1", 1.0)  # BEiT
        token_norms = arguments[0].detach().float().norm(dim=-1)  # (B, N)
        recorder.value_norm_ratios.append(transformed.float().norm(dim=-1) / token_norms)

    with ExitStack() as hooks:
        for layer in encoder:
            hooks.callback(layer.register_forward_hook(record_layer).remove)
        yield


def check_captures(shapes: list[tuple[int, ...]], *, layer_count: int, batch: int, tokens: int) -> None:
    """Check the captured shapes before computing maps from them.

    Args:
        shapes: as in `AttentionRecorder`.
        layer_count, batch, tokens: the expected sizes.

    Raises:
        RuntimeError: the number of layers or a shape differs from (batch, tokens, tokens).
    """
    if len(shapes) != layer_count or set(shapes) != {(batch, tokens, tokens)}:
        raise RuntimeError(
            f"captured {len(shapes)} layers of shapes {sorted(set(shapes))}, "
            f"expected {layer_count} of {(batch, tokens, tokens)}: this model's attention can't be read"
        )
