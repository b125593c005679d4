"""The photos that get an overlay: the setting `overlays` of a run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from pipeline.decision import Outcome
from pipeline.labelled.good_labels import is_good_label
from pipeline.model.targets import find_label

Kind = Literal["none", "failed", "below", "label", "sample", "all"]

_FORMS = "none, failed, below:0.8, label:A,B, sample:1000 or all"


@dataclass(frozen=True)
class OverlayChoice:
    """A rule for the photos with an overlay.

    Attributes:
        kind: `none`; `failed`: to be rejected or reviewed by the model's decision, without one labelled as a defect;
            `below` a score; one of the `label`s; in a `sample`; `all`.
        score: of `below`.
        labels: of `label`, as typed until `resolve_labels`.
        count: photos of `sample`, in one run.
    """

    kind: Kind
    score: float = 0.0
    labels: tuple[str, ...] = ()
    count: int = 0

    def wants(self, label: str | None, score: float | None, decision: str | None, *, sampled: bool) -> bool:
        """Tell whether a photo gets an overlay.

        Args:
            label, score, decision: columns of its row.
            sampled: it is in the sample of the plan.
        """
        if self.kind in ("none", "all") or label is None or score is None:
            return self.kind == "all"
        if self.kind == "sample":
            return sampled
        if self.kind == "failed":
            return decision != _PASS if decision else not is_good_label(label)
        if self.kind == "below":
            return bool(np.float32(score) < np.float32(self.score))  # as the table holds it, and as `--where` compares
        return label in self.labels

    def resolve_labels(self, class_names: Sequence[str]) -> "OverlayChoice":
        """Replace the labels as typed by the names of the model's classes.

        Raises:
            ValueError: one is unknown; names the nearest.
        """
        texts = _join_names(self.labels, class_names)
        return replace(self, labels=tuple(class_names[_find_class(text, class_names)] for text in texts))


_PASS: Outcome = "pass"
ALL, NONE = OverlayChoice("all"), OverlayChoice("none")


def parse_overlay_choice(text: str) -> OverlayChoice:
    """Parse a choice as typed by a user.

    Raises:
        ValueError: it has none of the forms.
    """
    name, _, value = text.strip().partition(":")
    kind = next((kind for kind in get_args(Kind) if kind == name.strip()), None)
    value = value.strip()
    if kind in ("none", "failed", "all") and not value:
        return OverlayChoice(kind)
    if kind == "below" and re.fullmatch(r"[01]|[01]?\.\d+", value) and 0 < float(value) <= 1:
        return OverlayChoice(kind, score=float(value))
    if kind == "sample" and value.isdecimal() and int(value):
        return OverlayChoice(kind, count=int(value))
    labels = tuple(filter(None, (label.strip() for label in value.split(","))))
    if kind == "label" and labels:
        return OverlayChoice(kind, labels=labels)
    raise ValueError(f"must be {_FORMS}")


def _join_names(parts: Sequence[str], class_names: Sequence[str]) -> list[str]:
    """Join parts again that are one name with commas in it, as ImageNet's `tench, Tinca tinca`."""
    names, joined, start = set(class_names), [], 0
    while start < len(parts):
        ends = (end for end in range(len(parts), start, -1) if ", ".join(parts[start:end]) in names)
        end = next(ends, start + 1)
        joined.append(", ".join(parts[start:end]))
        start = end
    return joined


def _find_class(text: str, class_names: Sequence[str]) -> int:
    try:
        return find_label(text, class_names)
    except ValueError as error:
        raise ValueError(f"{text} {error}") from None
