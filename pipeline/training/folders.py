"""The places of a training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainingFolders:
    """The places of a training.

    Attributes:
        start: the starting model.
        work: its working folder.
        stop: asked often; once true, the training ends as soon as possible.
    """

    start: Path
    work: Path
    stop: Callable[[], bool]
