"""A decision a photo: pass, review or reject, by a model's score of "any defect" and two thresholds.

`decision.json` in a model's folder holds the thresholds. `vitrollout evaluate --save-decision` chooses them.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from pipeline.errors import ModelError, one_line
from pipeline.model_json import read_model_json, write_model_json
from pipeline.records import Doubles, Floats, Scoring, compute_scores

DECISION_FILE = "decision.json"

Outcome = Literal["pass", "review", "reject"]
OUTCOMES: tuple[Outcome, ...] = ("pass", "review", "reject")

_ABOVE_ALL = 1.0000002  # a threshold reached by no score is just above 1
_Threshold = Annotated[float, Field(ge=0, le=_ABOVE_ALL, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]
_SEPARATOR = "-"  # in a fingerprint, before the part of the decision


@dataclass(frozen=True)
class ChosenOn:
    """The origin of a decision.

    Attributes:
        data: the labelled data set.
        split: its photos used for the choice, in words.
        photos, defects, good: numbers of these photos.
        wanted_recall: share of defects to be rejected or reviewed.
        wanted_false_alarms: share of good photos allowed to be rejected.
        chosen_at: ISO 8601, UTC.
        model_digest: of the model's files, see `Checkpoint.digest`.
        input_size: (H, W) in pixels, or None for the model's own.
        precision: of the forward pass.
        tile: side of the windows of photos, pixels; None: they were seen as a whole.
    """

    data: str
    split: str
    photos: _Count
    defects: _Count
    good: _Count
    wanted_recall: Annotated[float, Field(gt=0, le=1)]
    wanted_false_alarms: Annotated[float, Field(ge=0, lt=1)]
    chosen_at: str
    model_digest: str
    input_size: tuple[int, int] | None
    precision: str
    tile: _Count | None = None


@dataclass(frozen=True)
class Decision:
    """The content of `decision.json`. Scores and thresholds are compared as float32, as they stand in the table.

    Attributes:
        positive: labels of the classes counted as a defect.
        pass_below: photos with a lower score pass.
        reject_from: photos with this score or more are rejects; those between the two thresholds need a review.
        chosen_on: the origin of the thresholds.
        version: of the format.
    """

    positive: Annotated[tuple[str, ...], Field(min_length=1)]
    pass_below: _Threshold
    reject_from: _Threshold
    chosen_on: ChosenOn
    version: Literal[1] = 1

    def defect_score(self, probabilities: Doubles, labels: Sequence[str], scoring: Scoring) -> Floats:
        """Return the score of "any defect", (...), from the probabilities of all classes, (..., C).

        Args:
            probabilities: (..., C).
            labels: class names by id, C of them.
            scoring: how the probabilities were computed from the logits.
        """
        return combine_classes(probabilities, class_ids(labels, self.positive), scoring).astype(np.float32)

    def decide(self, score: float) -> Outcome:
        """Return the outcome for a score of "any defect"."""
        if np.float32(score) >= np.float32(self.reject_from):
            return "reject"
        return "pass" if np.float32(score) < np.float32(self.pass_below) else "review"

    def judge(self, logits: Floats, labels: Sequence[str], scoring: Scoring) -> list[tuple[float, Outcome]]:
        """Return the score of "any defect" and the outcome of n photos; logits (n, C), the rest as `defect_score`."""
        scores = self.defect_score(compute_scores(logits, scoring), labels, scoring).tolist()
        return [(score, self.decide(score)) for score in scores]

    def digest(self) -> str:
        """Hash everything with an effect on the outcomes, and nothing else."""
        return self._digest

    @cached_property
    def _digest(self) -> str:  # once, not for each of millions of photos
        parts = [sorted(set(self.positive)), float(self.pass_below), float(self.reject_from)]
        return blake2b(json.dumps(parts).encode(), digest_size=4).hexdigest()

    def describe(self) -> str:
        """Return the decision on one line, for the log."""
        return f"defects: {', '.join(self.positive)}; pass below {self.pass_below:g}, reject from {self.reject_from:g}"


def combine_classes(probabilities: Doubles, ids: Sequence[int], scoring: Scoring) -> Doubles:
    """Return the probability of any of some classes, (...), from those of all classes, (..., C).

    One class excludes the others under a softmax: their sum. Labels of a multi-label model may hold together: the
    highest.
    """
    chosen = probabilities[..., list(ids)]
    combined: Doubles = chosen.sum(axis=-1) if scoring == "softmax" else chosen.max(axis=-1, initial=0)
    return combined


def class_ids(labels: Sequence[str], names: Collection[str]) -> list[int]:
    """Return the ids of classes by their names, each once: several classes may have one name."""
    return [label_id for label_id, label in enumerate(labels) if label in names]


def add_decision(fingerprint: str, decision: Decision | None) -> str:
    """Return the fingerprint of a row with a decision; that of a row without one stays as it is."""
    return f"{fingerprint}{_SEPARATOR}{decision.digest()}" if decision else fingerprint


def without_decision(fingerprint: str) -> str:
    """Return the part of a fingerprint that stands for the model's numbers: a changed decision leaves it alone."""
    return fingerprint.partition(_SEPARATOR)[0]


def read_decision(folder: Path) -> Decision | None:
    """Read the decision of a model's folder; None without a file.

    Raises:
        ModelError: the file is damaged.
    """
    file = folder / DECISION_FILE
    try:
        decision = read_model_json(file, Decision)
    except ValueError as error:
        raise unusable_decision(folder, str(error)) from None
    if decision is None:
        return None
    if decision.pass_below > decision.reject_from:
        reason = f"pass_below = {decision.pass_below:g} is above reject_from = {decision.reject_from:g}"
        raise unusable_decision(folder, reason)
    return decision


def check_decision(decision: Decision, folder: Path, labels: Sequence[str], model_digest: str) -> None:
    """Check that a decision was chosen for this model.

    Args:
        decision: read from the folder.
        folder: of the model.
        labels: class names of the model.
        model_digest: of the model's files, see `Checkpoint.digest`.

    Raises:
        ModelError: the model lacks a class, or has other weights or preprocessing than the decision's.
    """
    if unknown := sorted(set(decision.positive) - set(labels)):
        known = ", ".join(labels[:20])
        raise unusable_decision(folder, f"positive: the model has no class {', '.join(unknown)}, only {known}")
    if decision.chosen_on.model_digest != model_digest:
        raise unusable_decision(folder, "it was chosen for other weights or another preprocessing")


def unusable_decision(folder: Path, reason: str) -> ModelError:
    """Return the error of a decision that can't be used, with the next step."""
    return ModelError(
        f"{folder / DECISION_FILE}: {one_line(reason, 200)}; choose it again with vitrollout evaluate DATA --model "
        f"{folder} --save-decision, or remove the file"
    )


def write_decision(decision: Decision, folder: Path) -> Path:
    """Write a decision into a model's folder; return the file.

    Raises:
        StoreError: the folder can't be written.
    """
    return write_model_json(decision, folder / DECISION_FILE)
