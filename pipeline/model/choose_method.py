"""`--method auto` -> a method: the one that holds for the model, by the verdict saved with it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.maps.methods import AUTO, DEFAULT_LABEL_METHOD, DEFAULT_METHOD, LABEL_METHODS, MethodName, WantedMethod
from pipeline.model.open import OpenedModel
from pipeline.model.verdict import Verdict
from pipeline.setting_types import is_model_folder

log = logging.getLogger(__name__)

MethodSource = Literal["settings", "verdict", "default"]


@dataclass(frozen=True)
class MethodChoice:
    """The map methods of a run.

    Attributes:
        methods: their names, the main one first.
        source: where they come from: the settings, the model's verdict, or the default for models without one.
        reason: for a choice that the settings leave open, for the log; else empty.
        is_doubtful: no method holds for the model.
    """

    methods: tuple[MethodName, ...]
    source: MethodSource
    reason: str = ""
    is_doubtful: bool = False

    def log_reason(self) -> None:
        """Log the method and the reason, if the settings leave it open."""
        if self.reason:
            level = logging.WARNING if self.is_doubtful else logging.INFO
            log.log(level, "method = %s: %s", self.methods[0], self.reason)


def choose_method(
    wanted: tuple[WantedMethod, ...], model: OpenedModel, *, target: str, versus: str | None
) -> MethodChoice:
    """Choose the methods of a run.

    A label to explain needs a method that explains labels: that of the verdict, or else the best trusted one that
    does, or else the default for labels.

    Args:
        wanted: the setting `method`.
        model: the model, perhaps with a verdict.
        target, versus: the settings of these names.

    Raises:
        ModelError: the verdict's file is damaged or was measured with another model.
    """
    if wanted != (AUTO,):
        return MethodChoice(wanted, "settings")
    verdict = model.read_verdict()
    labels = [name for name, label in (("target", target), ("versus", versus)) if label not in (None, "top1")]
    if labels:
        return _choose_label_method(verdict, labels)
    if verdict is None:
        return MethodChoice((DEFAULT_METHOD,), "default", _ask_for_verdict(model.checkpoint.name))
    if verdict.method is None:
        reason = f"no method holds for this model, {verdict.describe()}"
        return MethodChoice((DEFAULT_METHOD,), "default", reason, is_doubtful=True)
    return MethodChoice((verdict.method,), "verdict", f"by the model's verdict, {verdict.describe()}")


def _choose_label_method(verdict: Verdict | None, labels: Sequence[str]) -> MethodChoice:
    """Choose a method that explains labels.

    Args:
        verdict: of the model; None without one.
        labels: settings that name a label.
    """
    names = [verdict.method, *(method.name for method in verdict.trusted)] if verdict else []
    trusted = [name for name in names if name in LABEL_METHODS]
    method = trusted[0] if trusted else DEFAULT_LABEL_METHOD
    reason = f"explains labels, as {' and '.join(labels)} needs"
    return MethodChoice((method,), "verdict" if trusted else "default", reason)


def _ask_for_verdict(model: str) -> str:
    """Say that the maps are untested, and the command for a test."""
    command = f"vitrollout trust DATA --model {model}"
    advice = f"{command} --save measures it" if is_model_folder(model) else f"{command} names the --method to take"
    return f"nobody has measured whether the maps of this model point at anything; {advice}"
