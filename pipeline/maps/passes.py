"""Which maps, and the passes that they come from: methods that need no gradient share one with one that does."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from pipeline.maps.capture import AttentionRecorder, record_attention, record_value_norm_ratios
from pipeline.maps.gradient_passes import BACKWARD_PASSES, hooked
from pipeline.maps.methods import BACKWARD, FORWARD, BackwardMethod, ForwardMethod, Method
from pipeline.maps.rollout import METHODS, HeadFusion, norm_rollout


@dataclass(frozen=True)
class MapPlan:
    """How attention becomes maps; see `pipeline.maps.rollout` and `pipeline.maps.gradient_passes`.

    Attributes:
        methods: which maps, the main one first.
        head_fusion, discard_ratio: of the methods that need no gradient.
        versus: id of the label that the others set against the one that they explain; None: none.
    """

    methods: tuple[Method, ...] = ("rollout",)
    head_fusion: HeadFusion = "mean"
    discard_ratio: float = 0.0
    versus: int | None = None

    @property
    def backward(self) -> tuple[BackwardMethod, ...]:
        """The methods with a backward pass, which explain a label."""
        return tuple(method for method in BACKWARD if method in self.methods)

    def passes(self) -> "Iterator[MapPass]":
        """The passes that give these maps; one at a time, for each holds its activations."""
        forward = tuple(method for method in FORWARD if method in self.methods)
        first, *others = self.backward or (None,)
        yield MapPass(self, forward, first)
        yield from (MapPass(self, (), method) for method in others)


class MapPass:
    """One forward pass of a batch, with its backward pass where a method needs one."""

    def __init__(self, settings: MapPlan, forward: tuple[ForwardMethod, ...], backward: BackwardMethod | None) -> None:
        """Args: how to compute the maps, and which of them come from this pass."""
        self._settings = settings
        self._forward = forward
        self._method = backward
        self._backward = BACKWARD_PASSES[backward]() if backward else None
        self._value_norm_ratios: list[Tensor] = []
        self._recorder = AttentionRecorder(None)

    @contextmanager
    def watch(self, network: nn.Module, encoder: nn.ModuleList) -> Iterator[AttentionRecorder]:
        """Record what the maps need of a forward pass inside the block."""
        with ExitStack() as stack:
            self._recorder = stack.enter_context(
                record_attention(
                    self._settings.head_fusion if self._forward else None,
                    self._backward.attend if self._backward else None,
                )
            )
            if "rollout-norm" in self._forward:
                self._value_norm_ratios = stack.enter_context(record_value_norm_ratios(encoder, self._recorder))
            if self._backward is not None:
                stack.enter_context(hooked(self._backward, network, encoder))
            yield self._recorder

    def tokens(self, logits: Tensor, targets: Tensor, readout_tokens: int) -> dict[Method, Tensor]:
        """The maps with their prefix tokens, (B, N) by method.

        Args:
            logits: what the network gave, whole.
            targets: (B,), ids of the labels to explain.
            readout_tokens: leading tokens that rollouts start from.
        """
        rollouts = METHODS | {"rollout-norm": partial(norm_rollout, value_norm_ratios=self._value_norm_ratios)}
        ratio = self._settings.discard_ratio
        found: dict[Method, Tensor] = {
            method: rollouts[method](self._recorder.layers, readout_tokens=readout_tokens, discard_ratio=ratio)
            for method in self._forward
        }
        if self._method and self._backward:
            found[self._method] = self._backward.tokens(logits, targets, self._settings.versus)
        return found
