"""The table of map methods. A new method is one entry here, and its function.

Settings are checked against this table, so the functions are imported at their first use: nothing here needs torch.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal


@dataclass(frozen=True)
class MapMethod:
    """One way to compute maps.

    Attributes:
        function: `module:name`. Without a gradient, a function `CapturedAttention` -> (B, N). With one, a class of
            `pipeline.maps.gradient_passes.GradientPass`.
        needs_gradient: takes a backward pass, and a forward pass with hooks of its own.
        explains_label: the map depends on the label to explain.
        source: paper and equation.
        needs_value_norms: reads `CapturedAttention.value_norm_ratios`, at the cost of a hook on each layer.
        reads_last_layer: the map comes from the last layer alone.
    """

    function: str
    needs_gradient: bool
    explains_label: bool
    source: str
    needs_value_norms: bool = False
    reads_last_layer: bool = False

    def load(self) -> Any:
        """Import the function."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)


METHODS = {
    "rollout": MapMethod(
        "pipeline.maps.rollout:attention_rollout",
        needs_gradient=False,
        explains_label=False,
        source="Abnar & Zuidema 2020, arXiv:2005.00928, eq. 1",
    ),
    "article": MapMethod(
        "pipeline.maps.rollout:article_rollout",
        needs_gradient=False,
        explains_label=False,
        source="the article behind this project: products in reverse order, read by columns",
    ),
    "attention": MapMethod(
        "pipeline.maps.rollout:last_attention",
        needs_gradient=False,
        explains_label=False,
        source="the last layer's attention of the classification token",
        reads_last_layer=True,
    ),
    "rollout-norm": MapMethod(
        "pipeline.maps.rollout:norm_rollout",
        needs_gradient=False,
        explains_label=False,
        source="Chen et al., Beyond Intuition, TMLR 2023: attention perception by tokens",
        needs_value_norms=True,
    ),
    "relevance": MapMethod(
        "pipeline.maps.gradient_passes:RelevancePass",
        needs_gradient=True,
        explains_label=True,
        source="Chefer, Gur & Wolf, ICCV 2021, arXiv:2103.15679, eqs. 5 and 6",
    ),
    "legrad": MapMethod(
        "pipeline.maps.gradient_passes:LeGradPass",
        needs_gradient=True,
        explains_label=True,
        source="Bousselham et al. 2024, arXiv:2404.03214",
    ),
    "libragrad": MapMethod(
        "pipeline.maps.gradient_passes:LibraGradPass",
        needs_gradient=True,
        explains_label=True,
        source="Mehri, Soleymani Baghshah & Pilehvar, CVPR 2025, sec. 3.5",
    ),
}

AUTO = "auto"  # in settings, for the method that holds for the model: see `pipeline.model.choose_method`

if TYPE_CHECKING:
    MethodName = str
    WantedMethod = str
else:
    MethodName = Literal[tuple(METHODS)]  # for settings: pydantic checks the names, help lists them
    WantedMethod = Literal[(*METHODS, AUTO)]

ATTENTION_METHODS = tuple(name for name, method in METHODS.items() if not method.needs_gradient)
GRADIENT_METHODS = tuple(name for name, method in METHODS.items() if method.needs_gradient)
LABEL_METHODS = tuple(name for name, method in METHODS.items() if method.explains_label)
DEFAULT_METHOD = "rollout"  # for a model without a verdict
DEFAULT_LABEL_METHOD = "libragrad"  # the same with a label to explain: the best one in docs/trust.md
