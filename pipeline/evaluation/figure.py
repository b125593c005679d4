"""An evaluation as one picture: confusion matrix, ROC curves, reliability."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no window system, no global state
from sklearn.metrics import roc_curve

from pipeline.atomic_files import atomic_write_path
from pipeline.evaluation.metrics import reliability
from pipeline.evaluation.result import Evaluation
from pipeline.figures import figure_text_style

_MOST_CURVES = 12  # more hide each other


def draw_figure(evaluation: Evaluation, file: Path) -> None:
    """Draw the three panels and write them as a PNG.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    with figure_text_style():
        figure = Figure(figsize=(18, 5.6), layout="constrained")
        confusion, roc, calibration = figure.subplots(1, 3)
        _draw_confusion(confusion, evaluation)
        _draw_roc(roc, evaluation)
        _draw_reliability(calibration, evaluation)
        with atomic_write_path(file, file.parent) as temporary:
            figure.savefig(temporary, format="png", dpi=100)


def _draw_confusion(axes: Any, evaluation: Evaluation) -> None:
    counts = evaluation.confusion  # (C, C)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ids = range(len(evaluation.labels))
    axes.set(xticks=ids, yticks=ids, xlabel="predicted", ylabel="truth", title="Confusion matrix, photos")
    axes.set_xticklabels(evaluation.labels, rotation=45, ha="right")
    axes.set_yticklabels(evaluation.labels)
    if len(evaluation.labels) <= 30:  # in smaller cells the numbers can't be read
        for (truth, predicted), count in np.ndenumerate(counts):
            colour = "white" if shares[truth, predicted] > 0.5 else "black"
            axes.text(predicted, truth, str(count), ha="center", va="center", color=colour, fontsize=8)


def _draw_roc(axes: Any, evaluation: Evaluation) -> None:
    axes.plot([0, 1], [0, 1], color="lightgrey", linewidth=1)
    present = [label for label in np.unique(evaluation.truth) if not (evaluation.truth == label).all()]
    for label in present[:_MOST_CURVES]:
        false_alarms, recall, _ = roc_curve(evaluation.truth == label, evaluation.probabilities[:, label])
        axes.plot(false_alarms, recall, linewidth=1, label=evaluation.labels[label])
    is_defect = evaluation.is_defect
    if is_defect.any() and not is_defect.all():
        false_alarms, recall, _ = roc_curve(is_defect, evaluation.defect_score)
        axes.plot(false_alarms, recall, color="black", linewidth=2, label="any defect")
    if (chosen := evaluation.threshold) is not None:
        label = f"threshold {chosen.threshold:.3g}: {chosen.recall:.1%} found, {chosen.false_alarms:.1%} false alarms"
        axes.plot(chosen.false_alarms, chosen.recall, "o", color="black", markersize=9, label=label, clip_on=False)
    more = f" (first {_MOST_CURVES} of {len(present)} classes)" if len(present) > _MOST_CURVES else ""
    axes.set(xlabel="false alarms", ylabel="found", title=f"ROC, each class against the rest{more}")
    if present:
        axes.legend(loc="lower right", fontsize=8)


def _draw_reliability(axes: Any, evaluation: Evaluation) -> None:
    confidence = evaluation.probabilities.max(axis=1)
    accuracy, mean_confidence, counts = reliability(evaluation.predicted == evaluation.truth, confidence)
    axes.plot([0, 1], [0, 1], color="lightgrey", linewidth=1)
    axes.plot(mean_confidence, accuracy, marker="o")
    for x, y, count in zip(mean_confidence, accuracy, counts, strict=True):
        axes.annotate(str(count), (x, y), textcoords="offset points", xytext=(0, -14), ha="center", fontsize=8)
    error = evaluation.metrics["ece"].value
    axes.set(xlim=(0, 1.02), ylim=(-0.05, 1.05), xlabel="confidence", ylabel="accuracy")
    axes.set_title(f"Reliability, photos per bin; calibration error {error:.3f}")
