"""What an evaluation found, and the files that say so."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import atomic_write_path
from pipeline.evaluation.metrics import Ids, Probabilities, Threshold, confusion
from pipeline.intervals import Estimate
from pipeline.labelled.splits import LabelledPhoto
from pipeline.markdown import markdown_table

_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC, mean over classes",
    "average_precision": "average precision, mean over classes",
    "ece": "expected calibration error",
}


@dataclass(frozen=True)
class PredictedPhoto:
    """One photo with what the model says of it; no probabilities where it can't be read.

    Attributes:
        photo: the photo, with its true label.
        probabilities: (C,), sums to 1; None: failed.
        error: why it failed, else None.
    """

    photo: LabelledPhoto
    probabilities: npt.NDArray[np.float64] | None
    error: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        labels: class names by id.
        split: which photos were evaluated.
        truth: (n,) class ids of the photos that could be read.
        probabilities: (n, C).
        metrics: over all classes, by name.
        f1: by class.
        positive: the classes that count as a defect; empty where none do.
        defects: metrics of "any defect"; empty where no class counts as one.
        threshold: for the wanted recall.
        failed: photos that could not be read.
    """

    labels: tuple[str, ...]
    split: str
    truth: Ids
    probabilities: Probabilities
    metrics: dict[str, Estimate]
    f1: dict[str, Estimate]
    positive: tuple[str, ...]
    defects: dict[str, Estimate]
    threshold: Threshold | None
    failed: int

    @property
    def defect_score(self) -> npt.NDArray[np.float64]:
        """(n,) summed probability of the defect classes."""
        score: npt.NDArray[np.float64] = self.probabilities[:, self.positive_ids].sum(axis=1)
        return score

    @property
    def is_defect(self) -> npt.NDArray[np.bool_]:
        """(n,) whether the true class is a defect."""
        return np.isin(self.truth, self.positive_ids)

    @property
    def predicted(self) -> Ids:
        """(n,) the most probable class."""
        best: Ids = self.probabilities.argmax(axis=1)
        return best

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """(C, C) photos: rows are the truth, columns what was predicted."""
        return confusion(self.truth, self.predicted, len(self.labels))

    @property
    def positive_ids(self) -> list[int]:
        """Ids of the defect classes."""
        return [self.labels.index(label) for label in self.positive]


def write_predictions(judged: Sequence[PredictedPhoto], evaluation: Evaluation, file: Path) -> None:
    """One row a photo: path, label, split, status, error, predicted, correct, score, defect_score, probabilities."""
    rows = [_row(one, evaluation) for one in judged]
    schema = pa.schema(
        [
            ("path", pa.string()),
            ("label", pa.string()),
            ("split", pa.string()),
            ("status", pa.string()),
            ("error", pa.string()),
            ("predicted", pa.string()),
            ("correct", pa.bool_()),
            ("score", pa.float32()),
            ("defect_score", pa.float32()),
            ("probabilities", pa.list_(pa.float32())),
        ]
    )
    with atomic_write_path(file, file.parent) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema), temporary, compression="zstd")


def write_metrics(evaluation: Evaluation, settings: dict[str, Any], file: Path) -> None:
    """Everything that was measured as JSON; null where a metric is not defined on these photos."""
    threshold = evaluation.threshold
    report = {
        "photos": len(evaluation.truth),
        "failed": evaluation.failed,
        "split": evaluation.split,
        "metrics": _as_json(evaluation.metrics),
        "f1": _as_json(evaluation.f1),
        "confusion": {"labels": evaluation.labels, "rows_are_truth": evaluation.confusion.tolist()},
        "any_defect": {
            "labels": evaluation.positive,
            "at_0.5": _as_json(evaluation.defects),
            "for_recall": None if threshold is None else asdict(threshold),
        },
        "settings": settings,
    }
    with atomic_write_path(file, file.parent) as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")


def card_section(evaluation: Evaluation) -> str:
    """The evaluation in Markdown, for a model card."""
    rows = [(_NAMES[name], *_cells(estimate)) for name, estimate in evaluation.metrics.items()]
    rows += [(f"any defect at 0.5: {name.replace('_', ' ')}", *_cells(it)) for name, it in evaluation.defects.items()]
    rows += [(f"F1 of {label}", *_cells(estimate)) for label, estimate in evaluation.f1.items()]
    matrix = [[label, *counts] for label, counts in zip(evaluation.labels, evaluation.confusion.tolist(), strict=True)]
    parts = [
        "## Evaluation",
        f"`vitrollout evaluate` on {len(evaluation.truth)} photos ({evaluation.split}); 95% bootstrap intervals.",
        markdown_table(["metric", "value", "95% interval"], rows),
        _threshold_sentence(evaluation.threshold),
        "Confusion matrix, photos; rows are the truth, columns the prediction:",
        markdown_table(["", *evaluation.labels], matrix),
    ]
    return "\n\n".join(part for part in parts if part)


def _threshold_sentence(threshold: Threshold | None) -> str:
    if threshold is None:
        return ""
    return (
        f"A photo whose defect classes sum to {threshold.threshold:.9g} or more: {threshold.recall:.2%} of the defects "
        f"are found (wanted: {threshold.wanted_recall:.2%}), {threshold.false_alarms:.2%} of the good ones are called "
        "defects. Chosen on these same photos."
    )


def _row(one: PredictedPhoto, evaluation: Evaluation) -> dict[str, object]:
    row: dict[str, object] = {
        "path": one.photo.name,
        "label": one.photo.label,
        "split": one.photo.split,
        "error": one.error,
    }
    if one.probabilities is None:
        return row | {"status": "failed"}
    best = int(one.probabilities.argmax())
    return row | {
        "status": "ok",
        "predicted": evaluation.labels[best],
        "correct": evaluation.labels[best] == one.photo.label,
        "score": one.probabilities[best],
        "defect_score": one.probabilities[evaluation.positive_ids].sum() if evaluation.positive else None,
        "probabilities": one.probabilities,
    }


def _as_json(estimates: dict[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: estimate.as_json() for name, estimate in estimates.items()}


def _cells(estimate: Estimate) -> tuple[str, str]:
    interval = "" if math.isnan(estimate.low) else f"{estimate.low:.4f} - {estimate.high:.4f}"
    return ("undefined" if math.isnan(estimate.value) else f"{estimate.value:.4f}", interval)
