"""Captured attention, the input of all methods without a gradient. Pure batched tensor functions, no I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

HeadFusion = Literal["mean", "max", "min"]


@dataclass(frozen=True)
class CapturedAttention:
    """The attention of one forward pass, head-fused, with the settings for reading it.

    Attributes:
        layers: L tensors (B, N, N) in float32 or wider, from the first layer to the last. A rollout in bfloat16
            leaves about 150 distinct values on a map.
        readout_tokens: leading tokens read by the classifier; 0 if it reads the mean of all tokens.
        discard_ratio: share of the weakest entries to drop from each layer, in [0, 1); see `discard_weakest`.
        value_norm_ratios: L tensors (B, N): the norm of each token's transformed value vector over that of the token
            itself. Empty if the method does not need them.
    """

    layers: Sequence[Tensor]
    readout_tokens: int
    discard_ratio: float = 0.0
    value_norm_ratios: Sequence[Tensor] = ()

    def readout_row(self) -> Tensor:
        """Return the start of a rollout, (B, 1, N): the mean over the readout tokens, or over all tokens."""
        batch, tokens, _ = self.layers[0].shape
        start = self.layers[0].new_zeros(batch, 1, tokens)
        start[:, :, : self.readout_tokens or tokens] = 1 / (self.readout_tokens or tokens)
        return start

    def last_to_first(self) -> Iterator[Tensor]:
        """Yield each layer (B, N, N) without its weakest entries, from the last layer to the first."""
        return (discard_weakest(fused, self.discard_ratio, self.readout_tokens) for fused in reversed(self.layers))

    def first_layers(self, depth: int) -> "CapturedAttention":
        """Return the first `depth` layers alone."""
        return replace(self, layers=self.layers[:depth], value_norm_ratios=self.value_norm_ratios[:depth])


def fuse_heads(attention: Tensor, head_fusion: HeadFusion) -> Tensor:
    """Fuse the heads of a layer into one map.

    Args:
        attention: (B, heads, N, N), rows sum to 1.
        head_fusion: `mean`, `max` or `min` over the heads.

    Returns:
        (B, N, N) in float32 or wider.
    """
    if head_fusion == "mean":
        return attention.mean(dim=1)
    return attention.amax(dim=1) if head_fusion == "max" else attention.amin(dim=1)


def discard_weakest(fused: Tensor, discard_ratio: float, readout_tokens: int) -> Tensor:
    """Zero the weakest share of each image's own map, but never the columns of the readout tokens.

    Args:
        fused: (B, N, N), one layer.
        discard_ratio: share of the N*N entries, in [0, 1).
        readout_tokens: number of leading columns to spare.
    """
    batch, tokens, _ = fused.shape
    weakest = int(discard_ratio * tokens * tokens)
    if weakest == 0:
        return fused
    flat = fused.reshape(batch, -1)  # (B, N*N)
    # kthvalue, not quantile, which refuses more than 2^24 values: 4,097 tokens exceed it
    threshold = flat.kthvalue(weakest, dim=1).values  # (B,), each image's own
    dropped = fused <= threshold[:, None, None]
    dropped[:, :, :readout_tokens] = False
    return fused.masked_fill(dropped, 0)
