"""Captured attention -> one value per token. Pure batched tensor functions in float32 or wider, no I/O.

No product of matrices is ever built. Each method wants one row (or column) of it, so a vector is pushed through the
layers from the last to the first: O(L N^2) instead of O(L N^3).
"""

from torch import Tensor

from pipeline.maps.attention import CapturedAttention


def attention_rollout(attention: CapturedAttention) -> Tensor:
    """Compute the share of each token in the classifier's input (Abnar & Zuidema 2020, arXiv:2005.00928, eq. 1).

    R = Â_L ... Â_2 Â_1 with Â = D^-1 (A + I), D the row sums: half of each token is its own previous value. The map is
    the readout tokens' row of R: r <- r D^-1 A + r D^-1, from the last layer to the first.

    Returns:
        (B, N), each row sums to 1.
    """
    row = attention.readout_row()  # (B, 1, N)
    for fused in attention.last_to_first():
        row = row / (fused.sum(dim=-1) + 1)[:, None]  # (B, 1, N)
        row = row @ fused + row
    return row[:, 0]


def article_rollout(attention: CapturedAttention) -> Tensor:
    """Compute the map of the article: the product in reverse order, read by columns.

    R = Â_1 Â_2 ... Â_L and map = 1 - mean of R's first two columns. The column (e_0 + e_1) / 2 is pushed through the
    layers, from the last to the first.

    Returns:
        (B, N), values in [0, 1]; rows do not sum to 1.
    """
    batch, tokens, _ = attention.layers[0].shape
    column = attention.layers[0].new_zeros(batch, tokens, 1)  # (B, N, 1)
    column[:, :2] = 0.5
    for fused in attention.last_to_first():
        column = (fused @ column + column) / (fused.sum(dim=-1, keepdim=True) + 1)  # (B, N, 1)
    return 1 - column[:, :, 0]


def last_attention(attention: CapturedAttention) -> Tensor:
    """Return the last layer's attention alone: the mean of the readout tokens' rows.

    Returns:
        (B, N), each row sums to 1.
    """
    last = next(attention.last_to_first())
    return (attention.readout_row() @ last)[:, 0]


def norm_rollout(attention: CapturedAttention) -> Tensor:
    """Compute a rollout with attention weighted by its value vectors (Chen et al., Beyond Intuition, TMLR 2023).

    The paper's attention perception by tokens: P = (I + A_L M_L) ... (I + A_1 M_1), with M_l the diagonal of
    `value_norm_ratios`. A row is pushed through the layers: r <- r + (r A) M.

    Returns:
        (B, N), not negative.
    """
    row = attention.readout_row()
    ratios = reversed(attention.value_norm_ratios)
    for fused, ratio in zip(attention.last_to_first(), ratios, strict=True):
        row = row + (row @ fused) * ratio[:, None]  # (B, 1, N)
    return row[:, 0]
