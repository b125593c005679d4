"""Plans the forward passes of a batch: one pass per gradient method; methods without gradients share the first."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import nn

from pipeline.maps.attention import HeadFusion
from pipeline.maps.capture import AttentionRecorder, record_attention, record_value_norm_ratios
from pipeline.maps.gradient_passes import GradientPass, gradient_hooks
from pipeline.maps.methods import METHODS, MethodName


@dataclass(frozen=True)
class MapPlan:
    """Which maps to compute, and how.

    Attributes:
        methods: names in `METHODS`, the main one first; empty: no maps.
        head_fusion, discard_ratio: for the methods without a gradient, see `CapturedAttention`.
        target: ids of the classes to explain together in every photo; empty: a label of each photo's own.
        versus: ids of the classes to set against the explained ones; empty for none.
        features: return the features as well, from the first pass.
    """

    methods: tuple[MethodName, ...] = ("rollout",)
    head_fusion: HeadFusion = "mean"
    discard_ratio: float = 0.0
    target: tuple[int, ...] = ()
    versus: tuple[int, ...] = ()
    features: bool = False

    @property
    def gradient_methods(self) -> tuple[MethodName, ...]:
        """The planned methods with a backward pass."""
        return tuple(name for name in METHODS if name in self.methods and METHODS[name].needs_gradient)

    @property
    def explains_label(self) -> bool:
        """Whether any map depends on the label to explain."""
        return any(METHODS[name].explains_label for name in self.methods)

    def passes(self) -> "Iterator[MapPass]":
        """Yield the passes one at a time, because each holds its activations."""
        from_attention = tuple(name for name in METHODS if name in self.methods and not METHODS[name].needs_gradient)
        first, *others = self.gradient_methods or (None,)
        yield MapPass(self, from_attention, first)
        yield from (MapPass(self, (), method) for method in others)


class MapPass:
    """One forward pass of a batch, and a backward pass for a gradient method.

    Attributes:
        attention_methods: methods computed from the captured attention of this pass.
        gradient_method, gradient_pass: the method with a backward pass, and its state during this one; None without.
    """

    def __init__(
        self, plan: MapPlan, attention_methods: tuple[MethodName, ...], gradient_method: MethodName | None
    ) -> None:
        self.attention_methods = attention_methods
        self.gradient_method = gradient_method
        self.gradient_pass: GradientPass | None = METHODS[gradient_method].load()() if gradient_method else None
        self._head_fusion = plan.head_fusion if attention_methods else None

    @contextmanager
    def record(self, network: nn.Module, encoder: nn.ModuleList, readout_tokens: int) -> Iterator[AttentionRecorder]:
        """Record a forward pass inside the block, as far as the maps need it."""
        attend = self.gradient_pass.attend if self.gradient_pass else None
        recorder = AttentionRecorder(readout_tokens, self._head_fusion, attend)
        with ExitStack() as stack:
            stack.enter_context(record_attention(recorder))
            if any(METHODS[name].needs_value_norms for name in self.attention_methods):
                stack.enter_context(record_value_norm_ratios(encoder, recorder))
            if self.gradient_pass is not None:
                stack.enter_context(gradient_hooks(self.gradient_pass, network, encoder))
            yield recorder
