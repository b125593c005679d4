"""The free-response curve of detections, as a picture."""

from pathlib import Path

from matplotlib.figure import Figure  # not pyplot: no window system, no global state

from pipeline.atomic_files import atomic_write_path
from pipeline.evaluation.result import Detections
from pipeline.figures import figure_text_style

_FEWEST = 0.05  # false alarms a photo, at the left end of the axis


def draw_free_response(detections: Detections, file: Path) -> None:
    """Draw the share of defects found over the false alarms a photo, and write the picture as a PNG.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    recall, alarms = detections.metrics["recall"], detections.metrics["false_alarms_per_photo"]
    with figure_text_style():
        figure = Figure(figsize=(7, 5.2), layout="constrained")
        axes = figure.subplots()
        axes.step(
            [max(_FEWEST, false) for _, _, false in detections.curve],
            [found for _, found, _ in detections.curve],
            where="post",
            label="detections from any score on",
        )
        axes.errorbar(
            [max(_FEWEST, alarms.value)],
            [recall.value],
            yerr=[[recall.value - recall.low], [recall.high - recall.value]],
            xerr=[[max(0.0, min(alarms.value - alarms.low, alarms.value - _FEWEST))], [alarms.high - alarms.value]],
            marker="o",
            color="black",
            capsize=3,
            label=f"from {detections.detect_from:g} on: {recall.value:.1%} found, {alarms.value:.2f} false alarms",
        )
        lowest = min([found for _, found, _ in detections.curve if found >= 0.5], default=0.0)
        axes.set(
            xscale="log",
            xlim=(_FEWEST, None),
            ylim=(max(0.0, lowest - 0.05), 1.005),
            xlabel="false alarms a photo",
            ylabel="defects found",
            title=f"{detections.boxes} defects in {detections.photos} photos",
        )
        axes.grid(visible=True, which="both", linewidth=0.3)
        axes.legend(loc="lower right", fontsize=8)
        with atomic_write_path(file, file.parent) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
