"""What a fine-tuning came to."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning came to.

    Attributes:
        out: the model's folder.
        labels: class names by id.
        counts: photos per split and class.
        unreadable: photos left out.
        epochs: epochs trained.
        seconds: wall-clock seconds of training, all sittings.
        metrics: accuracy, macro_f1 and loss by split, of the saved files after reloading them.
    """

    out: Path
    labels: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    unreadable: int
    epochs: int
    seconds: float
    metrics: dict[str, dict[str, float]]
