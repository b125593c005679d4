"""The photos of a results folder used for training its model: no fair witnesses of the model's accuracy."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError
from pipeline.labelled.csv_table import read_paths, splits_of
from pipeline.model.checkpoint import BUNDLED, SPLIT_FILE
from pipeline.results.run_record import newest_run_records

log = logging.getLogger(__name__)


def find_training_photos(out: Path) -> frozenset[str]:
    """Return paths, as in the table, of photos in the train and validation splits of the newest run's model.

    Known for local models with a split.csv; empty for others. A photo counts by its place on the disk, and by its name
    in the training, for data sets copied since.
    """
    newest = next(newest_run_records(out), None)
    if newest is None or (folder := _find_local_model(str(newest.settings.get("model", "")))) is None:
        return frozenset()
    file = folder / SPLIT_FILE
    if not file.is_file():
        return frozenset()
    try:
        return frozenset(_list_paths(file, newest.summary.input))
    except DataError as error:
        log.warning("the audit may count photos of the model's training: %s", error)
        return frozenset()


def _find_local_model(model: str) -> Path | None:
    try:
        folder = BUNDLED if model == "bundled" else Path(model).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):  # too long for a name, an unknown user's home
        return None


def _list_paths(file: Path, source: str) -> Iterator[str]:
    table = read_paths(file, None, "split")
    root = os.path.realpath(source) + os.sep
    for name, photo, split in zip(table["path"], table["file"], splits_of(file, table), strict=True):
        if split in ("train", "validation"):
            yield name
            yield str(photo).removeprefix(root)
