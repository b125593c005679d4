"""Forward passes whose gradient is wanted, one kind a method; one backward pass explains the whole batch.

A pass hooks into the network, takes over the attention of its layers (`attend`), and after the forward pass turns
the logits into one value a token. Weights need no gradient, so autograd keeps activations only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.hooks import RemovableHandle

from pipeline.maps.methods import BackwardMethod
from pipeline.maps.relevance import LayerTrace, attention_relevance, attention_sensitivity, input_times_gradient


class BackwardPass(Protocol):
    """One forward pass with its backward pass."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attention's output, see `pipeline.maps.capture.Attend`."""

    def hooks(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[RemovableHandle]:
        """Put this pass's hooks on the network."""

    def tokens(self, logits: Tensor, targets: Tensor, versus: int | None) -> Tensor:
        """The map with its prefix tokens, (B, N), from what the network gave; targets (B,) are label ids."""


@contextmanager
def hooked(one: BackwardPass, network: nn.Module, encoder: nn.ModuleList) -> Iterator[None]:
    """Gradients on and the hooks of a pass on the network, while the block lasts."""
    handles: list[RemovableHandle] = []
    try:
        handles.extend(one.hooks(network, encoder))
        with torch.enable_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()


class Relevance:
    """`relevance`: the true gradient, see `attention_relevance`."""

    def __init__(self) -> None:
        self._layers: list[LayerTrace] = []
        self._last = torch.empty(0)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attention as the model has it."""
        output = _attend(query, key, value, mask)
        if not output.requires_grad:  # of the first layer: the gradient ends here
            output.requires_grad_()
        self._layers.append(LayerTrace(query, key, value, mask, output))
        return output

    def hooks(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[RemovableHandle]:
        """Keep the tokens that the classifier gets."""
        yield encoder[-1].register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: Any, tokens: Tensor) -> None:
        self._last = tokens

    def tokens(self, logits: Tensor, targets: Tensor, versus: int | None) -> Tensor:
        """See `attention_relevance`."""
        wanted = [self._last, *(layer.output for layer in self._layers)]
        read, *gradients = torch.autograd.grad(_score(logits, targets, versus), wanted)
        with torch.no_grad():
            return attention_relevance(self._layers, gradients, read)


class LeGrad:
    """`legrad`: each layer has a score of its own, what the classifier says of the mean of its tokens.

    That score's gradient with respect to the layer's attention stays within the layer. So the layers are cut from one
    another, and one backward pass goes through all of them. The means are scored by the network's own head: behind
    the last layer they go on as further images of the batch.
    """

    def __init__(self) -> None:
        self._layers: list[LayerTrace] = []
        self._means: list[Tensor] = []
        self._depth = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attention as the model has it; the gradient ends here."""
        output = _attend(query, key, value, mask).requires_grad_()
        self._layers.append(LayerTrace(query, key, value, mask, output))
        return output

    def hooks(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[RemovableHandle]:
        """Cut the layers from one another."""
        self._depth = len(encoder)
        for layer in encoder:
            yield layer.register_forward_hook(self._cut)

    def _cut(self, _: nn.Module, __: Any, tokens: Tensor) -> Tensor:
        self._means.append(tokens.mean(dim=1, keepdim=True))  # (B, 1, width)
        tokens = tokens.detach()
        if len(self._means) < self._depth:
            return tokens
        return torch.cat([tokens, *(mean.expand_as(tokens) for mean in self._means)])  # ((1 + L) * B, N, width)

    def tokens(self, logits: Tensor, targets: Tensor, versus: int | None) -> Tensor:
        """See `attention_sensitivity`."""
        scores = _score(logits[len(targets) :], targets.repeat(self._depth), versus)
        gradients = torch.autograd.grad(scores, [layer.output for layer in self._layers])
        with torch.no_grad():
            return attention_sensitivity(self._layers, gradients)


class LibraGrad:
    """`libragrad`: attention, gates and the norms' denominators count as constants in the gradient.

    So the score is a linear function of the tokens, and tokens times gradients divide it up among them (Mehri,
    Soleymani Baghshah & Pilehvar, CVPR 2025, sec. 3.5; as FullGrad+ of sec. 2.1, without its bias terms).
    """

    def __init__(self) -> None:
        self._inputs: list[Tensor] = []

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Libra attention: the weights are constant."""
        return _attend(query.detach(), key.detach(), value, mask)

    def hooks(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[RemovableHandle]:
        """Keep the tokens that go into each layer, and make what is not linear constant."""
        for layer in encoder:
            yield layer.register_forward_pre_hook(self._keep)
        for name, module in network.named_modules():
            if isinstance(module, nn.LayerNorm):
                yield module.register_forward_hook(_constant_deviation)
            elif name.endswith(("activation_fn", "act_fn")):
                yield module.register_forward_hook(_constant_gate)
            elif hasattr(module, "gate_proj"):
                yield module.register_forward_pre_hook(_half_gradient)

    def _keep(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tokens, *others = arguments
        if not tokens.requires_grad:  # of the first layer: the gradient ends here
            tokens = tokens.detach().requires_grad_()
        self._inputs.append(tokens)
        return (tokens, *others)

    def tokens(self, logits: Tensor, targets: Tensor, versus: int | None) -> Tensor:
        """See `input_times_gradient`."""
        gradients = torch.autograd.grad(_score(logits, targets, versus), self._inputs)
        with torch.no_grad():
            return input_times_gradient(self._inputs, gradients)


BACKWARD_PASSES: dict[BackwardMethod, Callable[[], BackwardPass]] = {
    "relevance": Relevance,
    "legrad": LeGrad,
    "libragrad": LibraGrad,
}


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, output: Tensor, backward: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.pull_back = backward
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.pull_back(gradient), None, None


def _with_gradient(tokens: Tensor, output: Tensor, backward: Callable[[Tensor], Tensor]) -> Tensor:
    """The output of a module, whose gradient with respect to its input becomes what `backward` makes of it."""
    replaced: Tensor = _Replaced.apply(tokens, output.detach(), backward)  # type: ignore[no-untyped-call]
    return replaced


def _constant_deviation(norm: nn.LayerNorm, arguments: tuple[Tensor], output: Tensor) -> Tensor:
    """Libra LayerNorm: the standard deviation is constant."""
    (tokens,) = arguments
    with torch.no_grad():
        variance = tokens.float().var(dim=-1, unbiased=False, keepdim=True)
        scale = (variance + norm.eps).rsqrt()

    def backward(gradient: Tensor) -> Tensor:
        scaled = gradient * norm.weight * scale
        return (scaled - scaled.mean(dim=-1, keepdim=True)).to(gradient.dtype)

    return _with_gradient(tokens, output, backward)


def _constant_gate(_: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
    """Libra gated activation: x * gate(x) with a constant gate; GELU's and SiLU's are a half at 0."""
    (tokens,) = arguments
    with torch.no_grad():
        gate = torch.where(tokens == 0, 0.5, output / tokens)
    return _with_gradient(tokens, output, lambda gradient: gradient * gate)


def _half_gradient(_: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
    """Libra self-gating: of a product of two branches each has half the gradient."""
    (tokens,) = arguments
    return (tokens / 2 + (tokens / 2).detach(),)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    output: Tensor = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
    return output


def _score(logits: Tensor, targets: Tensor, versus: int | None) -> Tensor:
    """What is explained: the targets' logits, minus that of `versus`, summed over the images."""
    scores = logits.gather(1, targets[:, None])[:, 0]  # (B,)
    return (scores if versus is None else scores - logits[:, versus]).sum()
