"""Capture of head-fused attention during the forward pass.

`output_attentions=True` keeps every layer's (B, heads, N, N), 256 MB an image for ViT-L at 384 pixels, and
silently returns nothing under SDPA. Instead one attention function is registered with transformers; it
computes the layer's output as eager attention does and hands the fused (B, N, N) map to a recorder.
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

from pipeline.maps.rollout import HeadFusion, fuse_heads

IMPLEMENTATION = "vitrollout"
_CACHE_BYTES = 4 * 2**20  # of a core's share; half and double of it are as fast

# query (scaled), key, value (B, heads, N, head width) and mask -> output, the same shape
Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@dataclass
class AttentionRecorder:
    """Collects what the layers compute, from the first to the last.

    Attributes:
        head_fusion: how a layer's heads become one; None: no attention is wanted.
        attend: computes the output instead, in a pass whose gradient is wanted.
        layers: one (B, N, N) float32 tensor a layer.
        shapes: (B, N, N) of every layer that ran, be its attention wanted or not.
        value: (B, heads, N, head width), value vectors of the layer that ran last.
        heads_layer: index of the layer whose heads are kept apart as well; None: of no layer.
        readout_tokens: leading tokens whose rows these heads show; 0: all of them.
        heads: (B, heads, N), the mean of those rows in each head; they sum to 1.
    """

    head_fusion: HeadFusion | None
    attend: Attend | None = None
    heads_layer: int | None = None
    readout_tokens: int = 0
    layers: list[Tensor] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    value: Tensor | None = None
    heads: Tensor | None = None

    def output(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Output of one layer's attention, (B, heads, N, head width); what is wanted of it is recorded."""
        self.shapes.append((query.shape[0], query.shape[2], key.shape[2]))
        self.value = value
        if self.attend is None:
            return self._record(query, key, value, mask)
        if self.head_fusion is not None:
            self._record(query, key, value, mask)
        return self.attend(query, key, value, mask)

    @torch.no_grad()
    def _record(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attention by blocks of query rows: recorded, and its output."""
        batch, heads, tokens, _ = query.shape
        wide = torch.promote_types(query.dtype, torch.float32)
        fused = query.new_empty(batch, tokens if self.head_fusion else 0, tokens, dtype=wide)
        shown = query.new_zeros(batch, heads, tokens, dtype=wide)
        readout = self.readout_tokens or tokens
        output = torch.empty_like(query)
        for images, rows in _blocks(query):
            bias = None if mask is None else mask.expand(batch, -1, -1, -1)[images, :, rows]
            attention = attention_weights(query[images, :, rows], key[images], bias)  # (b, heads, rows, N)
            output[images, :, rows] = attention.to(value.dtype) @ value[images]
            if len(self.layers) == self.heads_layer:
                shown[images] += attention[:, :, : max(0, readout - rows.start)].sum(dim=2) / readout
            if self.head_fusion is not None:
                fused[images, rows] = fuse_heads(attention, self.head_fusion)
        if len(self.layers) == self.heads_layer:
            self.heads = shown
        if self.head_fusion is not None:
            self.layers.append(fused)
        return output


def _blocks(query: Tensor) -> Iterator[tuple[slice, slice]]:
    """Images and query rows whose scores fit in the processor's cache together; elsewhere all at once.

    What is in the cache is read again at the speed of arithmetic: softmax, fusion and the product with the values
    then cost little beside the scores themselves.
    """
    batch, heads, tokens, _ = query.shape
    at_once = _CACHE_BYTES // (4 * heads * tokens) if query.device.type == "cpu" else batch * tokens  # rows
    images, rows = max(1, at_once // tokens), max(1, min(tokens, at_once))
    for image in range(0, batch, images):
        for row in range(0, tokens, rows):
            yield slice(image, image + images), slice(row, row + rows)


_recorder: ContextVar[AttentionRecorder | None] = ContextVar("vitrollout_recorder", default=None)


@contextmanager
def record_attention(
    head_fusion: HeadFusion | None,
    attend: Attend | None = None,
    *,
    heads_layer: int | None = None,
    readout_tokens: int = 0,
) -> Iterator[AttentionRecorder]:
    """Record the attention of every layer that runs inside the block; args as of `AttentionRecorder`."""
    recorder = AttentionRecorder(head_fusion, attend, heads_layer, readout_tokens)
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
    recorder = _recorder.get() or AttentionRecorder(None)  # nobody's
    output = recorder.output(query, key, value, attention_mask)
    return output.transpose(1, 2).contiguous(), None


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax of the scores, (B, heads, N, N) in float32 or wider: rounding would show in the maps.

    Args:
        query: (B, heads, N, head width), scaled.
        key: (B, heads, N, head width).
        mask: added to the scores, or None.
    """
    scores = query @ key.transpose(-1, -2)  # (B, heads, N, N)
    wide = torch.promote_types(scores.dtype, torch.float32)
    if mask is not None:
        scores = scores.to(wide) + mask
    return scores.softmax(dim=-1, dtype=wide)


def select_recorded_attention(model: Any) -> None:
    """Make a transformers model compute its attention here. Weights and logits stay what they were."""
    AttentionInterface.register(IMPLEMENTATION, recorded_attention)
    model.set_attn_implementation(IMPLEMENTATION)


@contextmanager
def record_value_norm_ratios(encoder: nn.ModuleList, recorder: AttentionRecorder) -> Iterator[list[Tensor]]:
    """Record for each layer how large what each token gives is beside the token itself, (B, N) float32.

    It gives its value vectors through the output projection and, where the family has one, the layer scale.
    """
    value_norm_ratios: list[Tensor] = []

    def record(layer: Any, arguments: tuple[Tensor, ...], _: Tensor) -> None:
        attention = layer.attention if hasattr(layer, "attention") else layer.self_attn
        project = attention.o_proj if hasattr(attention, "o_proj") else attention.out_proj
        assert recorder.value is not None
        given = linear(recorder.value.detach().transpose(1, 2).flatten(2), project.weight)  # (B, N, width)
        if hasattr(layer, "layer_scale1"):  # DINOv2
            given = layer.layer_scale1(given)
        given = given * getattr(layer, "lambda_1", 1.0)  # BEiT
        value_norm_ratios.append(given.float().norm(dim=-1) / arguments[0].detach().float().norm(dim=-1))

    with ExitStack() as hooks:
        for layer in encoder:
            hooks.callback(layer.register_forward_hook(record).remove)
        yield value_norm_ratios


def check_captures(shapes: list[tuple[int, ...]], *, layer_count: int, batch: int, tokens: int) -> None:
    """Make sure that what was captured is what the maps are computed from.

    Args:
        shapes: as `AttentionRecorder` has them.
        layer_count, batch, tokens: what they must be.

    Raises:
        RuntimeError: a number of layers or a shape differs from (batch, tokens, tokens).
    """
    if len(shapes) != layer_count or set(shapes) != {(batch, tokens, tokens)}:
        raise RuntimeError(
            f"captured {len(shapes)} layers of shapes {sorted(set(shapes))}, "
            f"expected {layer_count} of {(batch, tokens, tokens)}: this model's attention can't be read"
        )
