"""Shared by the tests of fine-tuning: photos, quick settings, one finished training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.training.config import FinetuneConfig
from pipeline.training.result import FinetuneResult
from tests.training.marked_photos import save_marked_photos

QUICK = {"input_size": 32, "epochs": 1, "batch_size": 16, "precision": "fp32", "learning_rate": 1e-3}


@dataclass(frozen=True)
class FinishedTraining:
    """A training finished before the test; not to be changed."""

    out: Path
    config: FinetuneConfig
    result: FinetuneResult


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """The folder of ten photos of each class; not to be changed."""
    return save_marked_photos(tmp_path_factory.mktemp("marked") / "photos")


@pytest.fixture
def settings(photos, tiny_checkpoint, tmp_path):
    """A function for the settings of a training of one second, with changes."""

    def make(**changes):
        start = {"data": photos, "out": tmp_path / "out", "model": str(tiny_checkpoint("vit"))}
        return FinetuneConfig(**start | QUICK | changes)

    return make


@pytest.fixture(scope="session")
def finished(photos, tiny_checkpoint, tmp_path_factory):
    """A model with a licence, a purpose and notes, in a folder with a file of the user's own."""
    from pipeline.training.finetune import finetune

    folder = tmp_path_factory.mktemp("finished")
    (folder / "notes.md").write_text("## Note\n\nfrom the third line")
    (folder / "out" / "work" / "checkpoint-1").mkdir(parents=True)
    config = FinetuneConfig(
        **{"data": photos, "out": folder / "out", "model": str(tiny_checkpoint("vit"))} | QUICK,
        **{"licence": "mit", "purpose": "tells marks apart", "notes": folder / "notes.md"},
    )
    return FinishedTraining(config.out, config, finetune(config))


@dataclass(frozen=True)
class MemoryCache:
    """Pixels in memory, read as those of a `PixelCache`."""

    pixels: np.ndarray  # (n, 3, S, S) uint8

    def read(self, index, epoch=0):
        return self.pixels[index].copy()
