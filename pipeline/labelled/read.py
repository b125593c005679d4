"""A labelled data set on disk -> `LabelledPhoto`s, each with the split that the data gives it.

Three layouts: a folder with one subfolder a class; a folder of splits (train, validation or val, test) with one
subfolder a class in each; or a CSV `path,label[,weight][,split]` whose paths are relative to the CSV's folder
(other columns are ignored).
"""

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.errors import ParserWarning

from pipeline.errors import DataError
from pipeline.labelled.splits import SPLITS, LabelledPhoto, some_of
from pipeline.photos.decode import extensions
from pipeline.photos.discover import escape
from pipeline.records import ImageRef

log = logging.getLogger(__name__)

_SPLIT_ALIASES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation"}


def read_labelled_photos(data: Path) -> list[LabelledPhoto]:
    """The photos of a data set, in its order (a folder's: sorted by name).

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
    """Photos with the splits that a `split.csv` names for them, matched by path; others keep None.

    Raises:
        DataError: the file can't be read.
    """
    table = read_table(file, "path", "split")
    splits = dict(zip(table["path"], splits_of(file, table), strict=True))
    return [replace(photo, split=splits.get(photo.name)) for photo in photos]


def read_table(file: Path, *columns: str) -> pd.DataFrame:
    """A CSV as text.

    Raises:
        DataError: it can't be read, or lacks one of the columns.
    """
    try:
        # Where every row ends with a comma, pandas would take the first column for row names.
        with warnings.catch_warnings(action="ignore", category=ParserWarning):
            table = pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(
            f"{file}: is no CSV that can be read ({' '.join(str(error).split())}); save it as UTF-8"
        ) from error
    for column in columns:
        if column not in table:
            raise DataError(
                f"{file}: has no column {column!r}, only {', '.join(table.columns)}; the header must name it"
            )
    return table


def splits_of(file: Path, table: pd.DataFrame) -> list[str | None]:
    """The split of each row of a CSV, None where it has none.

    Raises:
        DataError: names the rows whose split is no split.
    """
    if "split" not in table:
        return [None] * len(table)
    splits = table["split"].map(_as_split)
    check_column(file, table["path"], ~splits.isin(("", *SPLITS)), f"split is none of {', '.join(SPLITS)}")
    return [split or None for split in splits]


def check_column(file: Path, paths: pd.Series, wrong: pd.Series, reason: str) -> None:
    """Raise for the rows that are wrong, naming the first few by line (the header is line 1) and path."""
    if wrong.any():
        rows = [(int(row) + 2, paths[row]) for row in np.flatnonzero(wrong)]
        raise DataError(
            f"{file}: {reason} in {some_of(f'line {line} ({path})' for line, path in rows)}; correct the CSV"
        )


def labelled_ref(photo: LabelledPhoto) -> ImageRef:
    """Convert a labelled photo for the loader; size and mtime stay 0, they only matter to a run's resume."""
    return ImageRef(photo.name, None, str(photo.file), file_bytes=0, mtime_ns=0)


def _read_folder(root: Path) -> list[LabelledPhoto]:
    parents: dict[Path, str | None] = {root: None}  # folders of classes, with their split
    named = {folder: _as_split(folder.name) for folder in _subfolders(root)}
    if all(split in SPLITS for split in named.values()):
        parents |= named
    classes = [
        (folder, split) for parent, split in parents.items() for folder in _subfolders(parent) if folder not in parents
    ]
    outside = sum(_is_photo(entry.name) for parent in parents for entry in parent.iterdir())
    if outside and not classes:
        raise DataError(
            f"{root}: {outside} photos, but no subfolders; sort them into one for each class, or give a CSV path,label"
        )
    if outside:
        log.warning("%s: %d photos lie in no class's folder and are left out", root, outside)
    return [photo for folder, split in classes for photo in _read_class(root, folder, split)]


def _read_class(root: Path, folder: Path, split: str | None) -> list[LabelledPhoto]:
    files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names if not name.startswith(".")]
    photos = sorted(file for file in files if _is_photo(file.name))
    if not photos:
        kinds = some_of(sorted({file.suffix or file.name for file in files}))
        only = f", only files called {kinds}" if kinds else ""
        raise DataError(f"{folder}: holds no photos{only}; add some, or remove the folder")
    return [
        LabelledPhoto(escape(file.relative_to(root).as_posix()), file, escape(folder.name), split=split)
        for file in photos
    ]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _is_photo(name: str) -> bool:
    return name.rpartition(".")[2].lower() in extensions() and not name.startswith(".")


def _as_split(name: str) -> str:
    """What a data set calls a split in our words, where it is one."""
    name = name.strip().lower()
    return _SPLIT_ALIASES.get(name, name)


def _read_csv(file: Path) -> list[LabelledPhoto]:
    table = read_table(file, "path", "label")
    check_column(file, table["path"], table["path"] == "", "path is empty")
    check_column(file, table["path"], table["label"] == "", "label is empty")
    names = table["path"].map(lambda path: Path(path).as_posix())  # ./a.png is a.png
    check_column(file, table["path"], names.duplicated(), "path occurs twice")
    weights = _weights(file, table)
    splits = splits_of(file, table)
    files = [file.parent / path for path in table["path"]]
    missing = pd.Series([not os.path.isfile(path) for path in files], dtype=bool)  # False for a name too long, too
    check_column(file, table["path"], missing, f"no such file under {file.parent}")
    rows = zip(names, files, table["label"], weights, splits, strict=True)
    return [LabelledPhoto(name, path, label, weight, split) for name, path, label, weight, split in rows]


def _weights(file: Path, table: pd.DataFrame) -> list[float]:
    if "weight" not in table:
        return [1.0] * len(table)
    weights = pd.to_numeric(table["weight"].replace("", "1"), errors="coerce")
    check_column(file, table["path"], ~(np.isfinite(weights) & (weights > 0)), "weight is no number over 0")
    return [float(weight) for weight in weights]
