"""The outcome of a fine-tuning."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FinetuneResult:
    """The outcome of a fine-tuning.

    Attributes:
        out: folder of the model.
        labels: class names by id.
        counts: photos per split and class.
        unreadable: number of photos left out.
        epochs: number of epochs trained.
        seconds: wall-clock seconds of training, all sessions.
        metrics: accuracy, macro_f1 and loss by split, and with a good class defect_recall and false_alarms (see
            `Metrics`), measured on the saved files after reloading them.
        f1: F1 of each class by split, measured like `metrics`; None for a class without photos in the split.
        advice: what holds the model back, what to try next, and labels to look at again; a sentence each.
    """

    out: Path
    labels: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    unreadable: int
    epochs: int
    seconds: float
    metrics: dict[str, dict[str, float]]
    f1: dict[str, dict[str, float | None]]
    advice: tuple[str, ...] = ()

    @property
    def untested(self) -> list[str]:
        """The classes without a photo in the test split; empty without such a split."""
        return [label for label in self.labels if "test" in self.counts and not self.counts["test"].get(label)]
