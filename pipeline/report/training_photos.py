"""The photos of a results folder used for training its model: no fair witnesses of the model's accuracy."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError
from pipeline.labelled.csv_paths import to_nfc
from pipeline.labelled.csv_table import read_paths, splits_of
from pipeline.model.checkpoint import BUNDLED, SPLIT_FILE
from pipeline.results.run_record import newest_run_records
from pipeline.storage.location import Location

log = logging.getLogger(__name__)


def find_training_photos(out: Location) -> frozenset[str]:
    """Return paths, as in the table, of photos in the train and validation splits of the newest run's model.

    Known for local models with a split.csv; empty for others. A photo counts by its place on the disk, or by its name
    in the training if that data is no longer where it was.
    """
    newest = next(newest_run_records(out), None)
    if newest is None:
        return frozenset()
    return read_training_paths(str(newest.settings.get("model", "")), newest.summary.input)


def read_training_paths(model: str, source: str) -> frozenset[str]:
    """Return the training photos of one model as paths in a table.

    Args:
        model: its name, as in the settings of a run.
        source: the input folder of that run.
    """
    folder = _find_local_model(model)
    file = folder and folder / SPLIT_FILE
    if not file or not file.is_file():
        return frozenset()
    try:
        return frozenset(_list_paths(file, source))
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
    """Yield the places of training photos in the input folder; their names if the way to the data leads nowhere."""
    table = read_paths(file, None, "split")
    way = table["root"].iloc[0] if "root" in table and len(table) else ""
    is_at_hand = bool(way) and (file.parent / way).is_dir()
    root = os.path.realpath(source) + os.sep
    for name, photo, split in zip(table["path"], table["file"], splits_of(file, table), strict=True):
        if split in ("train", "validation"):
            for path in (str(photo).removeprefix(root), *(() if is_at_hand else (name,))):
                yield from (path, to_nfc(path))
