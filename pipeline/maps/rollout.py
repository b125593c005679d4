"""Captured attention -> one map an image. Pure batched tensor functions in float32 (or wider), no I/O.

A rollout in bfloat16 leaves about 150 distinct values on a map, so everything here is upcast first.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

HeadFusion = Literal["mean", "max", "min"]


def fuse_heads(attention: Tensor, head_fusion: HeadFusion) -> Tensor:
    """One map a layer out of its heads.

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
    """Zero the weakest share of each image's own map, never the readout tokens' columns.

    Args:
        fused: (B, N, N), one layer.
        discard_ratio: share of the N*N entries, in [0, 1).
        readout_tokens: how many leading columns are never touched.
    """
    batch, tokens, _ = fused.shape
    weakest = int(discard_ratio * tokens * tokens)
    if weakest == 0:
        return fused
    flat = fused.reshape(batch, -1)  # (B, N*N)
    # kthvalue, not quantile: that refuses more than 2^24 values, which 4,097 tokens exceed
    threshold = flat.kthvalue(weakest, dim=1).values  # (B,), each image's own
    dropped = fused <= threshold[:, None, None]
    dropped[:, :, :readout_tokens] = False
    return fused.masked_fill(dropped, 0)


def attention_rollout(layers: Sequence[Tensor], *, readout_tokens: int, discard_ratio: float = 0.0) -> Tensor:
    """The share of each token in what the classifier reads (Abnar & Zuidema 2020, arXiv:2005.00928, eq. 1).

    R = Â_L ... Â_2 Â_1 with Â = D^-1 (A + I), D the row sums: half of what a token holds is what it held before. Only
    one row of R is wanted. So neither R nor Â is ever built: the row vector is pushed through the layers from the last
    to the first, r <- r D^-1 A + r D^-1, O(L N^2) instead of O(L N^3).

    Args:
        layers: L tensors (B, N, N), head-fused attention from the first layer to the last.
        readout_tokens: leading tokens that the classifier reads; the map is the mean of their rows.
            0: there are none, and it is the mean of all rows.
        discard_ratio: see `discard_weakest`.

    Returns:
        (B, N), each row sums to 1.
    """
    row = _start(layers[0], readout_tokens)  # (B, 1, N)
    for fused in reversed(layers):
        kept = discard_weakest(fused, discard_ratio, readout_tokens)
        row = row / (kept.sum(dim=-1) + 1)[:, None]  # (B, 1, N)
        row = row @ kept + row
    return row[:, 0]


def article_rollout(layers: Sequence[Tensor], *, readout_tokens: int, discard_ratio: float = 0.0) -> Tensor:
    """What the article computes: the product in reverse order, read by columns.

    R = Â_1 Â_2 ... Â_L and map = 1 - mean of R's first two columns. Here too only a vector is needed: the
    column (e_0 + e_1) / 2, pushed through the layers from the last to the first.

    Args and returns as `attention_rollout`, values in [0, 1]; rows do not sum to 1.
    """
    batch, tokens, _ = layers[0].shape
    column = layers[0].new_zeros(batch, tokens, 1)  # (B, N, 1)
    column[:, :2] = 0.5
    for fused in reversed(layers):
        kept = discard_weakest(fused, discard_ratio, readout_tokens)
        column = (kept @ column + column) / (kept.sum(dim=-1, keepdim=True) + 1)  # (B, N, 1)
    return 1 - column[:, :, 0]


def last_attention(layers: Sequence[Tensor], *, readout_tokens: int, discard_ratio: float = 0.0) -> Tensor:
    """The last layer's attention alone: the mean of the readout tokens' rows.

    Args and returns as `attention_rollout`.
    """
    *_, fused = layers
    row = _start(fused, readout_tokens) @ discard_weakest(fused, discard_ratio, readout_tokens)  # (B, 1, N)
    return row[:, 0]


def norm_rollout(
    layers: Sequence[Tensor], *, value_norm_ratios: Sequence[Tensor], readout_tokens: int, discard_ratio: float = 0.0
) -> Tensor:
    """Rollout in which attention counts by what it brings along (Chen et al., Beyond Intuition, TMLR 2023).

    The paper's attention perception, P, by tokens: P = (I + A_L M_L) ... (I + A_1 M_1), with M_l diagonal and as
    large as the transformed value vector of each token is beside the token itself. Here too only a row is pushed
    through the layers: r <- r + (r A) M.

    Args:
        layers: L tensors (B, N, N), head-fused attention from the first layer to the last.
        growth: L tensors (B, N), the diagonals of M.
        readout_tokens, discard_ratio: as in `attention_rollout`.

    Returns:
        (B, N), not negative.
    """
    row = _start(layers[0], readout_tokens)
    for fused, size in zip(reversed(layers), reversed(value_norm_ratios), strict=True):
        row = row + (row @ discard_weakest(fused, discard_ratio, readout_tokens)) * size[:, None]  # (B, 1, N)
    return row[:, 0]


def _start(fused: Tensor, readout_tokens: int) -> Tensor:
    """The row vector that the maps start from, (B, 1, N): the mean over the readout tokens, or over all."""
    batch, tokens, _ = fused.shape
    start = fused.new_zeros(batch, 1, tokens)
    start[:, :, : readout_tokens or tokens] = 1 / (readout_tokens or tokens)
    return start


METHODS = {"rollout": attention_rollout, "article": article_rollout, "attention": last_attention}
