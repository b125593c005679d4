"""Maps written down once more from their definitions, slowly: full products, one image, in float64.

Nothing here may call the project's own functions, or the tests that compare with it would prove nothing.
"""

import copy
from typing import ClassVar

import numpy as np
import torch
from transformers import AttentionInterface


def fused(heads, head_fusion):
    """(heads, N, N) -> (N, N)."""
    return {"mean": np.mean, "max": np.max, "min": np.min}[head_fusion](np.asarray(heads, np.float64), axis=0)


def discarded(attention, discard_ratio, protected):
    """Zero the floor(ratio * N * N) lowest entries, except those in the protected columns."""
    weakest = np.argsort(attention, axis=None, kind="stable")[: int(np.floor(discard_ratio * attention.size))]
    dropped = np.zeros(attention.shape, bool)
    dropped.flat[weakest] = True
    dropped[:, list(protected)] = False
    return np.where(dropped, 0, attention)


def row_normalised(attention):
    """Â = rownorm(A + I)."""
    with_identity = attention + np.eye(len(attention))
    return with_identity / with_identity.sum(axis=1)[:, None]


def rollout_tokens(layers, *, method="rollout", head_fusion="mean", discard_ratio=0.0, readout=(0,)):
    """One image.

    Args:
        layers: L arrays (heads, N, N), first layer first.
        readout: positions of the tokens that the classifier reads; () for all.

    Returns:
        (N,) values of all tokens.
    """
    hats = [row_normalised(discarded(fused(heads, head_fusion), discard_ratio, readout)) for heads in layers]
    product = np.eye(len(hats[0]))
    if method == "rollout":  # R = Â_L ... Â_2 Â_1
        for hat in hats:
            product = hat @ product
        return product[list(readout)].mean(axis=0) if readout else product.mean(axis=0)
    for hat in hats:  # the article: R = Â_1 Â_2 ... Â_L
        product = product @ hat
    return 1 - product[:, :2].mean(axis=1)


def rollout_map(layers, grid, *, prefix, **settings):
    """One image: (grid_h, grid_w), the last grid_h * grid_w tokens."""
    tokens = rollout_tokens(layers, **settings)
    assert len(tokens) == prefix + grid[0] * grid[1]
    return tokens[prefix:].reshape(grid)


# Maps that need more than the attention: by autograd over attention that is there in full, one image at a time.


def explicit_attention(module, query, key, value, attention_mask, scaling=None, **_):
    """Attention for transformers, kept on its module as `seen`, with the value vectors; constant where it says so."""
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    attention = scores.softmax(dim=-1)
    if getattr(module, "constant_attention", False):
        attention = attention.detach()
    module.seen = attention, value
    return (attention @ value).transpose(1, 2).contiguous(), None


class LibraNorm(torch.nn.Module):
    """A LayerNorm whose standard deviation is a constant."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        deviation = (x.var(dim=-1, unbiased=False, keepdim=True) + self.norm.eps).sqrt().detach()
        return (x - x.mean(dim=-1, keepdim=True)) / deviation * self.norm.weight + self.norm.bias


class LibraActivation(torch.nn.Module):
    """x times its gate, which is a constant."""

    gates: ClassVar = {
        "GELUActivation": lambda x: 0.5 * (1 + torch.erf(x / 2**0.5)),
        "QuickGELUActivation": lambda x: torch.sigmoid(1.702 * x),
        "GELUTanh": lambda x: 0.5 * (1 + torch.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
        "SiLUActivation": torch.sigmoid,
    }

    def __init__(self, activation):
        super().__init__()
        self.gate = self.gates[type(activation).__name__]

    def forward(self, x):
        return x * self.gate(x).detach()


class LibraProduct(torch.nn.Module):
    """A SwiGLU with half the gradient in each branch of its product."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp = mlp

    def forward(self, x):
        gate, value = self.mlp.act_fn(self.mlp.gate_proj(x)), self.mlp.up_proj(x)
        product = 0.5 * gate * value
        return self.mlp.down_proj(product + product.detach())


def libra(network):
    """The same network with the gradient of LibraGrad."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        parent.constant_attention = True
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.LayerNorm):
                setattr(parent, name, LibraNorm(child))
            elif type(child).__name__ in LibraActivation.gates:
                setattr(parent, name, LibraActivation(child))
            elif hasattr(child, "gate_proj"):
                setattr(parent, name, LibraProduct(child))
    return network


class Trace:
    """A forward pass of one image, (1, 3, H, W), with everything that goes in and out of the encoder's layers."""

    def __init__(self, network, inputs, **options):
        AttentionInterface.register("reference", explicit_attention)
        network.set_attn_implementation("reference")
        self.layers = next(
            module
            for module in network.modules()
            if isinstance(module, torch.nn.ModuleList) and hasattr(module[0], "mlp")
        )
        self.inputs, self.outputs = [], []
        hooks = [layer.register_forward_hook(self._keep) for layer in self.layers]
        self.logits = network(pixel_values=inputs.clone().requires_grad_(), **options).logits[0]
        for hook in hooks:
            hook.remove()
        self.blocks = [layer.attention if hasattr(layer, "attention") else layer.self_attn for layer in self.layers]
        self.attentions = [block.seen[0] for block in self.blocks]  # (1, heads, N, N)
        self.values = [block.seen[1] for block in self.blocks]  # (1, heads, N, head width)

    def _keep(self, layer, arguments, output):
        self.inputs.append(arguments[0])
        self.outputs.append(output)

    def score(self, target, versus=None):
        return explained_score(self.logits, target, versus)


def explained_score(logits, target, versus=None):
    """The logit of a class, or of any of several, minus that of others; logits are (C,)."""
    target_logit, versus_logit = (
        logits[ids] if isinstance(ids, int) else logits[list(ids)].exp().sum().log() for ids in (target, versus or 0)
    )
    return target_logit - (0 if versus is None else versus_logit)


def relevance_tokens(trace, target, versus=None):
    """R <- R + mean_h ReLU(dA * A) R; rows weighted by the gradient of the last layer's output."""
    variables = [*trace.attentions, trace.outputs[-1]]
    *slopes, last_slope = torch.autograd.grad(trace.score(target, versus), variables, retain_graph=True)
    identity = torch.eye(last_slope.shape[1], dtype=last_slope.dtype)
    product = identity
    for attention, slope in zip(trace.attentions, slopes, strict=True):
        product = product + (attention * slope)[0].clamp(min=0).mean(dim=0) @ product
    share = last_slope[0].pow(2).sum(dim=-1).sqrt()
    return share / share.sum() @ (product - identity)


def legrad_tokens(trace, head, target, versus=None):
    """The mean over layers, heads and query tokens of ReLU(dA), each layer's of its own score."""
    maps = []
    for attention, tokens in zip(trace.attentions, trace.outputs, strict=True):
        logits = head(tokens[0].mean(dim=0))
        (slope,) = torch.autograd.grad(explained_score(logits, target, versus), attention, retain_graph=True)
        maps.append(slope[0].clamp(min=0).mean(dim=(0, 1)))
    return torch.stack(maps).mean(dim=0)


def libragrad_tokens(trace, target, versus=None):
    """Tokens times gradients, summed over the inputs of all layers; the trace is of a network made by `libra`."""
    gradients = torch.autograd.grad(trace.score(target, versus), trace.inputs, retain_graph=True)
    return sum((x * g)[0].sum(dim=-1) for x, g in zip(trace.inputs, gradients, strict=True))


def norm_rollout_tokens(trace, readout):
    """(I + A_L M_L) ... (I + A_1 M_1), the readout tokens' rows."""
    tokens = trace.inputs[0].shape[1]
    identity = torch.eye(tokens, dtype=torch.float64)
    product = identity
    for layer, block, x, attention, value in zip(
        trace.layers, trace.blocks, trace.inputs, trace.attentions, trace.values, strict=True
    ):
        weight = block.o_proj.weight if hasattr(block, "o_proj") else block.out_proj.weight
        if hasattr(layer, "layer_scale1"):
            weight = layer.layer_scale1.lambda1[:, None] * weight
        if hasattr(layer, "lambda_1"):
            weight = layer.lambda_1[:, None] * weight
        value_norm_ratios = torch.zeros(tokens, dtype=torch.float64)
        for token in range(tokens):
            added = weight @ value[0, :, token].reshape(-1)
            value_norm_ratios[token] = added.norm() / x[0, token].norm()
        product = (identity + attention[0].mean(dim=0) @ value_norm_ratios.diag()) @ product
    return product[list(readout)].mean(dim=0) if readout else product.mean(dim=0)
