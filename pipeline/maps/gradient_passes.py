"""Forward passes with a gradient, one class per method; one backward pass explains the whole batch.

A pass hooks into the network, takes over the attention of its layers (`attend`), and after the forward pass turns
the logits into one value per token. Weights need no gradient, so autograd keeps activations only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.hooks import RemovableHandle

from pipeline.maps.relevance import LayerTrace, attention_relevance, attention_sensitivity, input_times_gradient
from pipeline.records import Scoring


@dataclass(frozen=True)
class ExplainedScore:
    """The score explained by a map: the evidence for some classes, minus the evidence for others.

    A class alone counts by its logit. Classes of a softmax exclude one another, so several count by the log-sum-exp of
    their logits: with all defects against all other classes, the score is the logit of the probability of any defect.
    Labels of a multi-label model may hold together: several count by their largest logit. Either way this is the
    probability of `pipeline.decision.combine_classes`, before its squashing.

    Attributes:
        targets: (B, K), ids of the classes to explain, K in each image.
        versus: ids of the classes to set against them; empty for none.
        scoring: from logits to probabilities.
    """

    targets: Tensor
    versus: tuple[int, ...] = ()
    scoring: Scoring = "softmax"

    def sum_over_images(self, logits: Tensor) -> Tensor:
        """Return the sum of the images' scores, a scalar; logits are (n * B, C), all images n times over."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        targets = self.targets.repeat(len(logits) // len(self.targets), 1)  # (n * B, K)
        scores = self._combine(logits.gather(1, targets))  # (n * B,)
        if self.versus:
            # not by a list of ids: the host would wait until the device has it
            against = torch.stack([logits[:, label_id] for label_id in self.versus], dim=1)
            scores = scores - self._combine(against)
        return scores.sum()

    def _combine(self, logits: Tensor) -> Tensor:
        """Combine the logits of a group of classes, (n, K) -> (n,)."""
        return logits.logsumexp(dim=1) if self.scoring == "softmax" else logits.amax(dim=1)


class GradientPass(Protocol):
    """One forward pass and its backward pass."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Compute attention's output, see `pipeline.maps.capture.AttentionFunction`."""

    def register_hooks(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[RemovableHandle]:
        """Put this pass's hooks on the network."""

    def compute_map(self, logits: Tensor, score: ExplainedScore) -> Tensor:
        """Compute the map with its prefix tokens, (B, N), from the network's whole output.

        Args:
            logits: the network's output, with the rows added by hooks if there are any.
            score: the one to explain.
        """


@contextmanager
def gradient_hooks(gradient_pass: GradientPass, network: nn.Module, encoder: nn.ModuleList) -> Iterator[None]:
    """Turn gradients on and keep a pass's hooks on the network inside the block."""
    handles: list[RemovableHandle] = []
    try:
        handles.extend(gradient_pass.register_hooks(network, encoder))
        with torch.enable_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()


class RelevancePass:
    """`relevance`: the true gradient, see `attention_relevance`."""

    def __init__(self) -> None:
        self._layers: list[LayerTrace] = []
        self._last_tokens = torch.empty(0)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Compute attention as the model does."""
        output = _plain_attention(query, key, value, mask)
        if not output.requires_grad:  # first layer: the gradient ends here
            output.requires_grad_()
        self._layers.append(LayerTrace(query, key, value, mask, output))
        return output

    def register_hooks(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[RemovableHandle]:
        """Keep the tokens passed to the classifier."""
        yield encoder[-1].register_forward_hook(self._keep_last_tokens)

    def _keep_last_tokens(self, _: nn.Module, __: Any, tokens: Tensor) -> None:
        self._last_tokens = tokens

    def compute_map(self, logits: Tensor, score: ExplainedScore) -> Tensor:
        """See `attention_relevance`."""
        inputs = [self._last_tokens, *(layer.output for layer in self._layers)]
        read, *gradients = torch.autograd.grad(score.sum_over_images(logits), inputs)
        with torch.no_grad():
            return attention_relevance(self._layers, gradients, read)


class LeGradPass:
    """`legrad`: each layer has a score of its own, the classifier's for the mean of its tokens.

    The gradient of this score with respect to the layer's attention stays within the layer. So the layers are cut from
    one another, and one backward pass goes through all of them. The network's own head scores the means: behind the
    last layer they go on as further images of the batch.
    """

    def __init__(self) -> None:
        self._layers: list[LayerTrace] = []
        self._means: list[Tensor] = []
        self._depth = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Compute attention as the model does; the gradient ends here."""
        output = _plain_attention(query, key, value, mask).requires_grad_()
        self._layers.append(LayerTrace(query, key, value, mask, output))
        return output

    def register_hooks(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[RemovableHandle]:
        """Cut the layers from one another."""
        self._depth = len(encoder)
        for layer in encoder:
            yield layer.register_forward_hook(self._cut_layer)

    def _cut_layer(self, _: nn.Module, __: Any, tokens: Tensor) -> Tensor:
        self._means.append(tokens.mean(dim=1, keepdim=True))  # (B, 1, width)
        tokens = tokens.detach()
        if len(self._means) < self._depth:
            return tokens
        return torch.cat([tokens, *(mean.expand_as(tokens) for mean in self._means)])  # ((1 + L) * B, N, width)

    def compute_map(self, logits: Tensor, score: ExplainedScore) -> Tensor:
        """See `attention_sensitivity`."""
        of_layers = score.sum_over_images(logits[len(score.targets) :])
        gradients = torch.autograd.grad(of_layers, [layer.output for layer in self._layers])
        with torch.no_grad():
            return attention_sensitivity(self._layers, gradients)


class LibraGradPass:
    """`libragrad`: attention, gates and the norms' denominators count as constants in the gradient.

    So the score is a linear function of the tokens, and tokens times gradients divide it among them (Mehri,
    Soleymani Baghshah & Pilehvar, CVPR 2025, sec. 3.5; as FullGrad+ of sec. 2.1, without its bias terms).
    """

    def __init__(self) -> None:
        self._inputs: list[Tensor] = []

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Compute Libra attention: the weights are constant."""
        return _plain_attention(query.detach(), key.detach(), value, mask)

    def register_hooks(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[RemovableHandle]:
        """Keep the input tokens of each layer, and make the non-linear parts constant."""
        for layer in encoder:
            yield layer.register_forward_pre_hook(self._keep_input)
        for name, module in network.named_modules():
            if isinstance(module, nn.LayerNorm):
                yield module.register_forward_hook(_constant_deviation)
            elif name.endswith(("activation_fn", "act_fn")):
                yield module.register_forward_hook(_constant_gate)
            elif hasattr(module, "gate_proj"):
                yield module.register_forward_pre_hook(_half_gradient)

    def _keep_input(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tokens, *rest = arguments
        if not tokens.requires_grad:  # first layer: the gradient ends here
            tokens = tokens.detach().requires_grad_()
        self._inputs.append(tokens)
        return (tokens, *rest)

    def compute_map(self, logits: Tensor, score: ExplainedScore) -> Tensor:
        """See `input_times_gradient`."""
        gradients = torch.autograd.grad(score.sum_over_images(logits), self._inputs)
        with torch.no_grad():
            return input_times_gradient(self._inputs, gradients)


class _ReplacedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, output: Tensor, backward: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.pull_back = backward
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.pull_back(gradient), None, None


def _replace_gradient(tokens: Tensor, output: Tensor, backward: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a module's output with `backward` in place of its gradient with respect to the input."""
    replaced: Tensor = _ReplacedGradient.apply(tokens, output.detach(), backward)  # type: ignore[no-untyped-call]
    return replaced


def _constant_deviation(norm: nn.LayerNorm, arguments: tuple[Tensor], output: Tensor) -> Tensor:
    """Apply Libra LayerNorm: the standard deviation is constant."""
    (tokens,) = arguments
    with torch.no_grad():
        variance = tokens.float().var(dim=-1, unbiased=False, keepdim=True)
        scale = (variance + norm.eps).rsqrt()

    def backward(gradient: Tensor) -> Tensor:
        scaled = gradient * norm.weight * scale
        return (scaled - scaled.mean(dim=-1, keepdim=True)).to(gradient.dtype)

    return _replace_gradient(tokens, output, backward)


def _constant_gate(_: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
    """Apply a Libra gated activation: x * gate(x) with a constant gate; for GELU and SiLU it is a half at 0."""
    (tokens,) = arguments
    with torch.no_grad():
        gate = torch.where(tokens == 0, 0.5, output / tokens)
    return _replace_gradient(tokens, output, lambda gradient: gradient * gate)


def _half_gradient(_: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
    """Apply Libra self-gating: each of two multiplied branches gets half the gradient."""
    (tokens,) = arguments
    return (tokens / 2 + (tokens / 2).detach(),)


def _plain_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    output: Tensor = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
    return output
