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
        metrics: accuracy, macro_f1 and loss by split, measured on the saved files after reloading them.
    """

    out: Path
    labels: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    unreadable: int
    epochs: int
    seconds: float
    metrics: dict[str, dict[str, float]]
