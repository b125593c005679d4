"""The course of a training as one picture: loss, accuracy and F1 of the validation after each epoch."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure  # not pyplot: no window system, no global state
from matplotlib.ticker import MaxNLocator

from pipeline.figures import figure_text_style
from pipeline.training.validation import Metrics, best_epoch, worst_classes

_MOST_CLASSES = 12  # more hide each other


def draw_training(
    history: Sequence[Metrics], labels: Sequence[str], best_by: str, file: Path, *, first_epoch: int = 1
) -> None:
    """Draw the panels and write them as a PNG; a line marks the saved epoch.

    Args:
        history: metrics of the validation after each epoch.
        labels: class names by id.
        best_by: the metric that decides.
        file: the PNG.
        first_epoch: 0 if the history begins with the starting point.
    """
    epochs = range(first_epoch, first_epoch + len(history))
    with figure_text_style():
        figure = Figure(figsize=(15, 4.6), layout="constrained")
        loss, overall, classes = figure.subplots(1, 3)
        losses = [metrics.loss for metrics in history]
        loss.plot(epochs, losses, marker="o")
        loss.set(title="Loss, validation", ylim=(0, 1.05 * max(filter(math.isfinite, losses), default=1)))
        overall.plot(epochs, [metrics.accuracy for metrics in history], marker="o", label="accuracy")
        overall.plot(epochs, [metrics.macro_f1 for metrics in history], marker="o", label="macro F1")
        overall.set(title="Accuracy and macro F1, validation", ylim=(-0.02, 1.02))
        overall.legend(loc="lower right", fontsize=8)
        _draw_classes(classes, epochs, history, labels)
        for axes in (loss, overall, classes):
            axes.axvline(epochs[best_epoch(history, best_by) - 1], color="#9aa0a8", linestyle=":")
            axes.set_xlabel("epoch; dotted: the one saved")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y", alpha=0.3)
        figure.savefig(file, format="png", dpi=100)


def _draw_classes(axes: Any, epochs: range, history: Sequence[Metrics], labels: Sequence[str]) -> None:
    """Draw the F1 of each class, of many classes the worst."""
    for label_id in sorted(worst_classes(history[-1], _MOST_CLASSES)):
        scores = [metrics.f1[label_id] if metrics.f1 else None for metrics in history]  # none of earlier versions
        axes.plot(epochs, scores, marker="o", markersize=3, label=labels[label_id])
    more = f", the worst {_MOST_CLASSES} of {len(labels)}" if len(labels) > _MOST_CLASSES else ""
    axes.set(title=f"F1 by class, validation{more}", ylim=(-0.02, 1.02))
    if axes.lines:
        axes.legend(loc="best", fontsize=8)
