"""Gradients -> one value per token. Pure batched tensor functions in float32 or wider, no I/O.

The gradient with respect to a layer's attention is the gradient of its output times its value vectors, dA = dO V^T.
So it need not be kept: attention and its gradient are computed from (B, heads, N, head width) per layer, a block of
query rows at a time, and no (B, heads, N, N) is ever held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from pipeline.maps.capture import attention_weights

_BLOCK = 2**22  # entries of attention computed at once: 16 MB


@dataclass(frozen=True)
class LayerTrace:
    """The inputs of one layer's attention, and its output.

    Attributes:
        query, key, value, output: (B, heads, N, head width); query is scaled.
        mask: added to the scores, or None.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    output: Tensor

    def rows(self) -> Iterator[slice]:
        """Yield query rows, a block at a time."""
        batch, heads, tokens, _ = self.query.shape
        step = max(1, _BLOCK // (batch * heads * tokens))
        return (slice(start, start + step) for start in range(0, tokens, step))

    def attention(self, rows: slice) -> Tensor:
        """Compute the attention of some query rows, (B, heads, rows, N)."""
        mask = None if self.mask is None else self.mask[:, :, rows]
        return attention_weights(self.query[:, :, rows], self.key, mask)

    def attention_gradient(self, gradient: Tensor, rows: slice) -> Tensor:
        """Compute the gradient with respect to this attention, (B, heads, rows, N), from the gradient of `output`."""
        return _to_float32(gradient[:, :, rows] @ self.value.transpose(-1, -2))


def attention_relevance(layers: Sequence[LayerTrace], gradients: Sequence[Tensor], read: Tensor) -> Tensor:
    """Compute the share of each token in a score (Chefer, Gur & Wolf, ICCV 2021, arXiv:2103.15679, eqs. 5 and 6).

    Ā = mean over heads of ReLU(dA * A) and R <- R + Ā R, from the first layer to the last, starting from the
    identity. Only the rows of the tokens read by the classifier matter, so R is never built: the row vector is pushed
    through the layers from the last to the first, r <- r + r Ā.

    Args:
        layers: L traces from the first layer to the last.
        gradients: (B, heads, N, head width) each, of the score with respect to the layers' outputs.
        read: (B, N, width), gradient with respect to the last layer's output tokens. It shows the classifier's use of
            them: rows count by its norm, so only the class token's row counts for a classifier of that token.

    Returns:
        (B, N), not negative.
    """
    start: Tensor = vector_norm(_to_float32(read), dim=-1)  # (B, N)
    start = start / start.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(start.dtype).tiny)
    row = start
    for layer, gradient in zip(reversed(layers), reversed(gradients), strict=True):
        step = row.clone()
        for rows in layer.rows():
            weights = (layer.attention(rows) * layer.attention_gradient(gradient, rows)).relu_()  # (B, heads, rows, N)
            step += (row[:, None, None, rows] @ weights).mean(dim=1)[:, 0]
        row = step
    return row - start


def attention_sensitivity(layers: Sequence[LayerTrace], gradients: Sequence[Tensor]) -> Tensor:
    """Compute the gain of a score from more attention to each token (LeGrad: Bousselham et al. 2024, arXiv:2404.03214).

    The positive part of dA, averaged over heads, query tokens and layers.

    Args:
        layers: L traces.
        gradients: (B, heads, N, head width) each, of layer l's own score with respect to its output.

    Returns:
        (B, N), not negative.
    """
    total = torch.zeros((), device=gradients[0].device)
    for layer, gradient in zip(layers, gradients, strict=True):
        for rows in layer.rows():
            total = total + layer.attention_gradient(gradient, rows).relu_().sum(dim=2).mean(dim=1)  # (B, N)
    return total / (len(layers) * total.shape[-1])


def input_times_gradient(inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Compute each token's contribution to a score, summed over the layers.

    Args:
        inputs: (B, N, width) each, the layers' input tokens.
        gradients: the same shapes.

    Returns:
        (B, N); negative if a token speaks against the score.
    """
    return torch.stack(
        [(_to_float32(x) * _to_float32(g)).sum(dim=-1) for x, g in zip(inputs, gradients, strict=True)]
    ).sum(dim=0)


def _to_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
