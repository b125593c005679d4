"""A labelled data set on disk -> `LabelledPhoto`s, each with its split.

Three layouts: a folder with one subfolder a class; a folder of splits (train, validation or val, test) with one
subfolder a class in each; or a CSV `path,label[,weight][,split]` whose paths are relative to the CSV's folder
(other columns are ignored).
"""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.errors import ParserWarning

from pipeline.decode import extensions
from pipeline.discover import escape
from pipeline.errors import DataError

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
_SPLIT_ALIASES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation"}
_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo of a labelled data set.

    Attributes:
        name: path as the data set writes it, `/` separators; unique in the set.
        file: where it lies.
        label: name of its class.
        weight: share of one photo that it counts for in the loss, > 0.
        split: "train", "validation", "test", or None where the data set doesn't say.
    """

    name: str
    file: Path
    label: str
    weight: float = 1.0
    split: str | None = None


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


def labels_of(photos: Iterable[LabelledPhoto]) -> list[str]:
    """The class names, sorted; a label's place here is its id."""
    return sorted({photo.label for photo in photos})


def check_known(labels: Iterable[str], known: Sequence[str]) -> None:
    """Refuse labels that a model doesn't know.

    Raises:
        DataError: names some of them.
    """
    unknown = sorted(set(labels) - set(known))
    if unknown:
        raise DataError(
            f"label: {', '.join(map(repr, unknown[:5]))} of the data is no class of the model, "
            f"which knows {', '.join(known[:20])}; take a model made for these labels"
        )


def split_counts(photos: Iterable[LabelledPhoto]) -> dict[str, Counter[str]]:
    """Photos per split and class, splits in their usual order, empty splits left out."""
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for photo in photos:
        if photo.split is not None:
            counts[photo.split][photo.label] += 1
    return {split: per_label for split, per_label in counts.items() if per_label}


def assign_splits(
    photos: Sequence[LabelledPhoto], *, validation_share: float, test_share: float, seed: int
) -> list[LabelledPhoto]:
    """Give each photo a split; what the data set says is kept.

    Where it says nothing, every class is shuffled by itself with `seed` and dealt out by the shares: at least
    one photo of a class goes to train and one to validation. Where it says train and test but has no
    validation, `validation_share` is taken from train in the same way.

    Raises:
        DataError: only some photos have a split, or a class has fewer than two photos.
    """
    with_split = sum(photo.split is not None for photo in photos)
    if with_split not in (0, len(photos)):
        raise DataError(f"split: {len(photos) - with_split} of {len(photos)} photos have none; fill in all or none")
    check_class_sizes(photos, labels_of(photos))
    if with_split == 0:
        return _deal_out(photos, {"validation": validation_share, "test": test_share}, seed)
    if any(photo.split == "validation" for photo in photos):
        return list(photos)
    train = [photo for photo in photos if photo.split == "train"]
    dealt = {photo.name: photo for photo in _deal_out(train, {"validation": validation_share}, seed)}
    return [dealt.get(photo.name, photo) for photo in photos]


def check_class_sizes(photos: Sequence[LabelledPhoto], labels: Sequence[str]) -> None:
    """Refuse fewer than two classes, and classes with fewer than two photos; `labels` are those that there should be.

    Raises:
        DataError: names the classes and their counts.
    """
    if len(labels) < 2:
        raise DataError(f"label: only one class, {labels[0]!r}; a classifier needs two or more")
    counts = Counter(photo.label for photo in photos)
    small = {label: counts[label] for label in labels if counts[label] < 2}
    if small:
        named = _some(f"{label!r} ({count})" for label, count in small.items())
        raise DataError(f"label: fewer than two photos of {named}; add photos, or merge or drop the class")


def check_splits(photos: Sequence[LabelledPhoto]) -> None:
    """Refuse an empty train or validation split, and a label that occurs in only one split.

    Raises:
        DataError: names the split or the labels.
    """
    counts = split_counts(photos)
    for split in ("train", "validation"):
        if split not in counts:
            raise DataError(
                f"split: {split!r} is empty; label photos with it, or leave the column out to have it dealt"
            )
    for label in labels_of(photos):
        where = [split for split in counts if label in counts[split]]
        if len(where) == 1:
            raise DataError(
                f"label: {label!r} occurs only in the split {where[0]!r}; each class must be in train and another split"
            )
        if "train" not in where:
            raise DataError(f"label: {label!r} does not occur in the split 'train'; it can't be learnt")


def write_split_csv(photos: Sequence[LabelledPhoto], file: Path) -> None:
    """Write `path,label,split`, one row a photo, in the given order."""
    rows = [(photo.name, photo.label, photo.split or "") for photo in photos]
    pd.DataFrame(rows, columns=["path", "label", "split"]).to_csv(file, index=False, lineterminator="\n")


def apply_split_csv(photos: Sequence[LabelledPhoto], file: Path) -> list[LabelledPhoto]:
    """Photos with the splits that a `split.csv` names for them, matched by path; others keep None.

    Raises:
        DataError: the file can't be read.
    """
    table = read_table(file, "path", "split")
    splits = dict(zip(table["path"], splits_of(file, table), strict=True))
    return [replace(photo, split=splits.get(photo.name)) for photo in photos]


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
        kinds = ", ".join(sorted({file.suffix or file.name for file in files})[:_NAMED_AT_MOST])
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
        raise DataError(f"{file}: {reason} in {_some(f'line {line} ({path})' for line, path in rows)}; correct the CSV")


def _deal_out(photos: Sequence[LabelledPhoto], shares: dict[str, float], seed: int) -> list[LabelledPhoto]:
    split_of: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    for label in labels_of(photos):
        names = sorted(photo.name for photo in photos if photo.label == label)
        order = [names[place] for place in rng.permutation(len(names))]
        start, last = 0, len(names) - 1  # one photo stays in train
        for split, share in shares.items():
            at_least = 1 if split == "validation" else 0
            end = min(last, start + max(at_least, round(len(names) * share)))
            split_of.update(dict.fromkeys(order[start:end], split))
            start = end
    return [replace(photo, split=split_of.get(photo.name, "train")) for photo in photos]


def _some(items: Iterable[str]) -> str:
    named = list(items)
    more = f" and {len(named) - _NAMED_AT_MOST} more" if len(named) > _NAMED_AT_MOST else ""
    return ", ".join(named[:_NAMED_AT_MOST]) + more
