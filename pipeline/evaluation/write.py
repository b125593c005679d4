"""An evaluation -> metrics.json, predictions.parquet, figure.png, changed.csv, and a section of a model card."""

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import atomic_write_path
from pipeline.decision import combine_classes
from pipeline.evaluation.band import BandCosts
from pipeline.evaluation.comparison import ChangedPhoto
from pipeline.evaluation.figure import draw_figure
from pipeline.evaluation.free_response import draw_free_response
from pipeline.evaluation.result import Detections, Evaluation, PredictedPhoto, ScoredPhotos
from pipeline.evaluation.threshold import Threshold
from pipeline.intervals import Estimate
from pipeline.markdown import markdown_table
from pipeline.records import Box

DETECTION_FIGURE = "detection.png"
_METRIC_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC, mean over classes",
    "average_precision": "average precision, mean over classes",
    "ece": "expected calibration error",
}
_CORNERS = [(name, pa.float32()) for name in ("x0", "y0", "x1", "y1")]
_BOX = pa.struct([*_CORNERS, ("label", pa.string()), ("score", pa.float32())])  # true ones have no score
_PREDICTION_SCHEMA = pa.schema(
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
        ("detections", pa.list_(_BOX)),
        ("boxes", pa.list_(_BOX)),
    ]
)


def write_results(
    evaluation: Evaluation, predictions: Sequence[PredictedPhoto], settings: Mapping[str, Any], out: Path
) -> None:
    """Write all files of an evaluation into an existing folder.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    write_predictions(predictions, evaluation, out / "predictions.parquet")
    write_metrics(evaluation, settings, out / "metrics.json")
    draw_figure(evaluation, out / "figure.png")
    if evaluation.detections:
        draw_free_response(evaluation.detections, out / DETECTION_FIGURE)
    else:
        (out / DETECTION_FIGURE).unlink(missing_ok=True)  # of an earlier evaluation
    if evaluation.comparison:
        write_changed(evaluation.comparison.changed, out / "changed.csv")


def write_predictions(predictions: Sequence[PredictedPhoto], evaluation: ScoredPhotos, file: Path) -> None:
    """Write one row per photo, failed ones included."""
    rows = [_prediction_row(prediction, evaluation) for prediction in predictions]
    with atomic_write_path(file, file.parent) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, _PREDICTION_SCHEMA), temporary, compression="zstd")


def write_changed(changed: Sequence[ChangedPhoto], file: Path) -> None:
    """Write the photos with different predictions as a CSV."""
    names = [field.name for field in fields(ChangedPhoto)]
    with atomic_write_path(file, file.parent) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, changed))


def write_metrics(evaluation: Evaluation, settings: Mapping[str, Any], file: Path) -> None:
    """Write all metrics as JSON, null for metrics undefined on these photos."""
    threshold = evaluation.threshold
    report = {
        "photos": len(evaluation.truth),
        "failed": evaluation.failed,
        "split": evaluation.split,
        "resampled": evaluation.resampled,
        "metrics": _estimates_as_json(evaluation.metrics),
        "f1": _estimates_as_json(evaluation.f1),
        "confusion": {"labels": evaluation.labels, "rows_are_truth": evaluation.confusion.tolist()},
        "any_defect": {
            "labels": evaluation.positive,
            "at_0.5": _estimates_as_json(evaluation.defects),
            "for_recall": threshold and threshold.as_json(),
            "why_no_threshold": evaluation.why_no_threshold,
        },
        "detection": evaluation.detections and evaluation.detections.as_json(),
        "decision": evaluation.band and evaluation.band.as_json(),
        "comparison": evaluation.comparison and evaluation.comparison.as_json(),
        "settings": settings,
    }
    with atomic_write_path(file, file.parent) as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")


def format_card_section(evaluation: Evaluation) -> str:
    """Format the evaluation in Markdown, for a model card."""
    estimates = {_METRIC_TITLES[name]: estimate for name, estimate in evaluation.metrics.items()}
    estimates |= {f"any defect at 0.5: {name.replace('_', ' ')}": value for name, value in evaluation.defects.items()}
    estimates |= {f"F1 of {label}": estimate for label, estimate in evaluation.f1.items()}
    rows = [(title, *_format_estimate(estimate)) for title, estimate in estimates.items()]
    matrix = [[label, *counts] for label, counts in zip(evaluation.labels, evaluation.confusion.tolist(), strict=True)]
    parts = [
        "## Evaluation",
        f"`vitrollout evaluate` on {len(evaluation.truth)} photos ({evaluation.split}), with 95% intervals"
        f"{_describe_families(evaluation)}.",
        markdown_table(["metric", "value", "95% interval"], rows),
        _detection_table(evaluation.detections),
        _threshold_sentence(evaluation.threshold),
        _band_sentences(evaluation.band),
        "Confusion matrix, photos; rows are the truth, columns the prediction:",
        markdown_table(["", *evaluation.labels], matrix),
    ]
    return "\n\n".join(part for part in parts if part)


def _describe_families(evaluation: Evaluation) -> str:
    families = evaluation.families
    return "" if families is None else f" from {families.max() + 1} groups of photos, drawn as a whole"


def _detection_table(detections: Detections | None) -> str:
    """Format the comparison with boxes; empty without."""
    if detections is None:
        return ""
    rows = [
        (re.sub("^ap", "average precision at IoU ", name.replace("_", " ")), *_format_estimate(estimate))
        for name, estimate in detections.metrics.items()
    ]
    intro = (
        f"Defects found, on {detections.photos} photos with {detections.boxes} boxes, by detections with a score of "
        f"{detections.detect_from:g} or more; a defect is found if the centre of a detection lies in its box, or the "
        "other way round:"
    )
    return f"{intro}\n\n{markdown_table(['metric', 'value', '95% interval'], rows)}"


def _threshold_sentence(threshold: Threshold | None) -> str:
    if threshold is None:
        return ""
    sentence = (
        f"With a threshold of {threshold.threshold:.9g} on the score of the defect classes, {threshold.recall:.2%} of "
        f"the defects are found (target: {threshold.wanted_recall:.2%}) and {threshold.false_alarms:.2%} of the good "
        "photos are called defects. The threshold was chosen on these same photos"
    )
    if (fitted := threshold.on_other_photos) is not None:
        sentence += (
            f"; on photos left out of the choice ({fitted.folds} folds), {_format_share(fitted.recall)} of the defects "
            f"are found and {_format_share(fitted.false_alarms)} of the good photos are called defects"
        )
    return f"{sentence}. {threshold.caution}." if threshold.caution else f"{sentence}."


def _band_sentences(band: BandCosts | None) -> str:
    return "" if band is None else "".join(f"{sentence}. " for sentence in (band.describe(), *band.cautions)).rstrip()


def _format_share(estimate: Estimate) -> str:
    return f"{estimate.value:.2%} (95% interval {estimate.low:.2%} to {estimate.high:.2%})"


def _prediction_row(prediction: PredictedPhoto, evaluation: ScoredPhotos) -> dict[str, object]:
    photo, probabilities = prediction.photo, prediction.probabilities
    row: dict[str, object] = {"path": photo.name, "label": photo.label, "split": photo.split, "error": prediction.error}
    if probabilities is None:
        return row | {"status": "failed"}
    best = int(probabilities.argmax())
    return row | {
        "status": "ok",
        "predicted": evaluation.labels[best],
        "correct": evaluation.labels[best] == photo.label,
        "score": probabilities[best],
        "defect_score": combine_classes(probabilities, evaluation.positive_ids, evaluation.scoring)
        if evaluation.positive
        else None,
        "probabilities": probabilities,
        "detections": [
            _box_row(one.box, evaluation.labels[one.label_id], one.score) for one in prediction.detections or ()
        ],
        "boxes": [_box_row(box.box, box.label, None) for box in photo.boxes or ()],
    }


def _box_row(box: Box, label: str, score: float | None) -> dict[str, object]:
    return dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)) | {"label": label, "score": score}


def _estimates_as_json(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: estimate.as_json() for name, estimate in estimates.items()}


def _format_estimate(estimate: Estimate) -> tuple[str, str]:
    """Return two cells of a table: the value and its interval."""
    interval = "" if math.isnan(estimate.low) else f"{estimate.low:.4f} - {estimate.high:.4f}"
    return ("undefined" if math.isnan(estimate.value) else f"{estimate.value:.4f}", interval)
