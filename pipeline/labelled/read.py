"""A labelled data set on disk -> `LabelledPhoto`s, with their splits if the data has any.

Three layouts: a folder with one subfolder per class; a folder of splits (train, validation or val, test) with one
subfolder per class in each; or a CSV `path,label[,weight][,split]` with paths relative to the CSV's folder
(other columns are ignored).
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import DataError
from pipeline.labelled.csv_table import SPLITS, check_column, list_some, read_paths, split_name, splits_of
from pipeline.labelled.splits import LabelledPhoto
from pipeline.photos.decode import extensions
from pipeline.photos.discover import escape
from pipeline.records import ImageRef

log = logging.getLogger(__name__)


def read_labelled_photos(data: Path) -> list[LabelledPhoto]:
    """Read the photos of a data set, in its order (of a folder: sorted by name).

    Raises:
        DataError: there is no such data set, it has no photos, one of its classes has none, or a row is wrong.
    """
    if data.is_dir():
        photos = _read_folder(data)
    elif data.is_file():
        photos = _read_csv(data)
    else:
        raise DataError(f"{data}: no such folder or CSV file; give a folder with a subfolder per class, or a CSV")
    if not photos:
        raise DataError(f"{data}: holds no photos; give a folder with a subfolder per class, or a CSV path,label")
    return photos


def apply_split_csv(photos: Sequence[LabelledPhoto], file: Path) -> list[LabelledPhoto]:
    """Give photos their splits from a `split.csv`, matched by path; other photos get None.

    Raises:
        DataError: the file can't be read.
    """
    table = read_paths(file, "split")
    splits = dict(zip(table["path"], splits_of(file, table), strict=True))
    return [replace(photo, split=splits.get(photo.name)) for photo in photos]


def labelled_ref(photo: LabelledPhoto) -> ImageRef:
    """Convert a labelled photo for the loader; size and mtime stay 0, they only matter to a run's resume."""
    return ImageRef(photo.name, None, str(photo.file), file_bytes=0, mtime_ns=0)


def _read_folder(root: Path) -> list[LabelledPhoto]:
    parents: dict[Path, str | None] = {root: None}  # folders of classes, with their split
    split_folders = {folder: split_name(folder.name) for folder in _list_subfolders(root)}
    if all(split in SPLITS for split in split_folders.values()):
        parents |= split_folders
    classes = [
        (folder, split)
        for parent, split in parents.items()
        for folder in _list_subfolders(parent)
        if folder not in parents
    ]
    outside = sum(_is_photo(entry.name) for parent in parents for entry in parent.iterdir())
    if outside and not classes:
        raise DataError(
            f"{root}: {outside} photos, but no subfolders; sort them into one for each class, or give a CSV path,label"
        )
    if outside:
        log.warning("%s: %d photos lie outside the folders of the classes and are left out", root, outside)
    return [photo for folder, split in classes for photo in _read_class(root, folder, split)]


def _read_class(root: Path, folder: Path, split: str | None) -> list[LabelledPhoto]:
    files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names if not name.startswith(".")]
    photos = sorted(file for file in files if _is_photo(file.name))
    if not photos:
        suffixes = list_some(sorted({file.suffix or file.name for file in files}))
        only = f", only files called {suffixes}" if suffixes else ""
        raise DataError(f"{folder}: holds no photos{only}; add some, or remove the folder")
    return [
        LabelledPhoto(escape(file.relative_to(root).as_posix()), file, escape(folder.name), split=split)
        for file in photos
    ]


def _list_subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _is_photo(name: str) -> bool:
    return name.rpartition(".")[2].lower() in extensions() and not name.startswith(".")


def _read_csv(file: Path) -> list[LabelledPhoto]:
    table = read_paths(file, "label")
    check_column(file, table["path"], table["label"] == "", "label is empty")
    check_column(file, table["path"], table["path"].duplicated(), "path occurs twice")
    weights = _read_weights(file, table)
    splits = splits_of(file, table)
    files = [file.parent / path for path in table["path"]]
    missing = pd.Series([not os.path.isfile(path) for path in files], dtype=bool)  # names too long count as missing
    check_column(file, table["path"], missing, f"no such file under {file.parent}")
    rows = zip(table["path"], files, table["label"], weights, splits, strict=True)
    return [LabelledPhoto(name, path, label, weight, split) for name, path, label, weight, split in rows]


def _read_weights(file: Path, table: pd.DataFrame) -> list[float]:
    if "weight" not in table:
        return [1.0] * len(table)
    weights = pd.to_numeric(table["weight"].replace("", "1"), errors="coerce")
    check_column(file, table["path"], ~(np.isfinite(weights) & (weights > 0)), "weight is not a number over 0")
    return [float(weight) for weight in weights]
