"""The photos of an evaluation that a model has seen before."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.labelled.csv_table import read_paths, splits_of
from pipeline.labelled.splits import LabelledPhoto
from pipeline.model.checkpoint import SPLIT_FILE, Checkpoint


@dataclass(frozen=True)
class Exposure:
    """The photos of a comparison that a model has seen, by its split.csv.

    Attributes:
        trained: number of photos used for its training.
        chosen: number of photos used to choose its best epoch.
        is_known: False: the model has no split.csv.
    """

    trained: int
    chosen: int
    is_known: bool

    def describe(self, name: str) -> str:
        """Say it in words."""
        if not self.is_known:
            return f"{name} has no split.csv, so nobody knows the photos of its training"
        if not self.trained and not self.chosen:
            return f"{name} was neither trained nor chosen on any of them"
        return f"{name} was trained on {self.trained} of them and chosen on {self.chosen}"


def find_exposure(photos: Sequence[LabelledPhoto], checkpoint: Checkpoint) -> Exposure:
    """Find the photos seen in the training of a model, by file, or by path if its files have moved."""
    file = checkpoint.folder / SPLIT_FILE
    if not file.is_file():
        return Exposure(0, 0, is_known=False)
    table = read_paths(file, None, "split")
    split_of: dict[str, str | None] = {}
    for name, path, split in zip(table["path"], table["file"], splits_of(file, table), strict=True):
        split_of[os.path.realpath(path) if path.is_file() else name] = split
    seen = Counter(split_of.get(os.path.realpath(photo.file), split_of.get(photo.name)) for photo in photos)
    return Exposure(seen["train"], seen["validation"], is_known=True)
