"""A labelled data set on disk -> `LabelledPhoto`s, with their splits if the data has any.

Four layouts: a folder with one subfolder per class; a folder of splits (train, validation or val, test) with one
subfolder per class in each; a CSV `path,label[,weight][,split][,x0,y0,x1,y1]` with paths relative to the CSV's folder
(other columns are ignored), and one row per box if it has boxes; or COCO annotations.
"""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import DataError
from pipeline.labelled.boxes import gather_boxes, has_boxes
from pipeline.labelled.clean_label import clean_label, group_by_case, group_by_label
from pipeline.labelled.coco import find_coco_files, find_coco_root, read_coco
from pipeline.labelled.csv_paths import match_names
from pipeline.labelled.csv_table import (
    SPLITS,
    check_column,
    find_photo_root,
    list_some,
    read_paths,
    read_table,
    split_name,
    splits_of,
)
from pipeline.labelled.splits import LabelledPhoto, labels_of
from pipeline.photos.discover import Discovery, is_photo_name, walk_photos
from pipeline.photos.folder_walk import escape
from pipeline.photos.left_out import find_folder_rule, log_left_out, sort_left_out
from pipeline.photos.selection import Selection
from pipeline.records import ImageRef

log = logging.getLogger(__name__)


def read_labelled_photos(data: Path) -> list[LabelledPhoto]:
    """Read the photos of a data set, in its order (of a folder: sorted by name).

    Raises:
        DataError: there is no such data set, it has no photos, one of its classes has none, or a row is wrong.
    """
    if coco := find_coco_files(data):
        photos = read_coco(coco, find_root(data))
    elif data.is_dir():
        photos = _read_folder(data)
    elif data.is_file():
        photos = _read_csv(data)
    else:
        raise DataError(f"{data}: no such folder or CSV file; give a folder with a subfolder per class, or a CSV")
    if not photos:
        raise DataError(f"{data}: holds no photos; give a folder with a subfolder per class, or a CSV path,label")
    for group in group_by_case(labels_of(photos)):
        log.warning("label: %s differ in case alone and are different classes", " and ".join(map(repr, group)))
    return photos


def find_root(data: Path) -> Path:
    """Return the folder that the names of a data set's photos start at."""
    if find_coco_files(data):
        return find_coco_root(data)
    return data if data.is_dir() else find_photo_root(data, read_table(data))


def apply_split_csv(photos: Sequence[LabelledPhoto], file: Path) -> list[LabelledPhoto]:
    """Give photos their splits from a `split.csv`, matched by path in any Unicode form; other photos get None.

    Raises:
        DataError: the file can't be read.
    """
    table = read_table(file, "path", "split")
    by_path = dict(zip(table["path"], splits_of(file, table), strict=True))
    splits = match_names(by_path, [photo.name for photo in photos])
    return [replace(photo, split=splits.get(photo.name)) for photo in photos]


def apply_group_column(photos: Sequence[LabelledPhoto], file: Path) -> list[LabelledPhoto]:
    """Give photos their groups from the column group of a `split.csv`, as `apply_split_csv`; nothing without one.

    Raises:
        DataError: the file can't be read.
    """
    table = read_table(file, "path")
    if "group" not in table:
        return list(photos)
    groups = match_names(dict(zip(table["path"], table["group"], strict=True)), [photo.name for photo in photos])
    return [replace(photo, group=groups.get(photo.name) or None) for photo in photos]


def labelled_ref(photo: LabelledPhoto) -> ImageRef:
    """Convert a labelled photo for the loader; size and mtime stay 0, they only matter to a run's resume."""
    return ImageRef(photo.name, None, str(photo.file), file_bytes=0, mtime_ns=0)


@dataclass
class _ClassFolders:
    """The folders of classes in a data set, and all the walk leaves out.

    Attributes:
        splits: the split of each folder of a class, by folder.
        outside: number of photos outside these folders.
        left_out: pictures and folders left out, counted by rule.
    """

    splits: dict[Path, str | None] = field(default_factory=dict)
    outside: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def _read_folder(root: Path) -> list[LabelledPhoto]:
    classes = _find_classes(root)
    if classes.outside and not classes.splits:
        raise DataError(
            f"{root}: {classes.outside} photos, but no subfolders; sort them into one for each class, or give a CSV "
            "path,label"
        )
    if classes.outside:
        log.warning("%s: %d photos lie outside the folders of the classes and are left out", root, classes.outside)
    photos = []
    for folder, split in classes.splits.items():
        discovery = walk_photos(folder, Selection())
        classes.left_out.update(discovery.left_out)
        photos += _label_photos(root, folder, split, discovery)
    log_left_out(sort_left_out(classes.left_out))
    return photos


def _find_classes(root: Path) -> _ClassFolders:
    """Find the folders of classes: in the root, or in the folders of splits directly in it."""
    classes = _ClassFolders()
    subfolders = _list_subfolders(root, classes)
    split_of = {folder: split_name(escape(folder.name)) for folder in subfolders}
    if split_of and all(split in SPLITS for split in split_of.values()):
        for parent, split in split_of.items():
            classes.splits |= dict.fromkeys(_list_subfolders(parent, classes), split)
    else:
        classes.splits = dict.fromkeys(subfolders)
    return classes


def _list_subfolders(parent: Path, classes: _ClassFolders) -> list[Path]:
    """List the folders of classes in a folder; count its photos, and the folders left out.

    Raises:
        DataError: two folders stand for one class.
    """
    entries = sorted(parent.iterdir())
    folders = [entry for entry in entries if entry.is_dir()]
    rules = {folder: find_folder_rule(folder.name) for folder in folders}
    classes.left_out.update(rule for rule in rules.values() if rule)
    classes.outside += sum(is_photo_name(entry.name) for entry in entries if entry not in rules)
    folders = [folder for folder in folders if rules[folder] is None]
    for label, names in group_by_label(escape(folder.name) for folder in folders).items():
        raise DataError(
            f"{parent}: the folders {', '.join(map(repr, names))} differ in blanks or Unicode forms alone, so both "
            f"are the class {label!r}; put their photos into one folder, or rename one"
        )
    return folders


def _label_photos(root: Path, folder: Path, split: str | None, discovery: Discovery) -> list[LabelledPhoto]:
    """Label the photos found in the folder of a class.

    Raises:
        DataError: there are none.
    """
    if not discovery.refs:
        raise DataError(f"{folder}: holds no photos{_describe_others(folder)}; add some, or remove the folder")
    prefix, label = escape(folder.relative_to(root).as_posix()), clean_label(escape(folder.name))
    return [LabelledPhoto(f"{prefix}/{ref.path}", Path(ref.file), label, split=split) for ref in discovery.refs]


def _describe_others(folder: Path) -> str:
    names = [Path(name) for _, _, names in os.walk(folder) for name in names if not name.startswith(".")]
    suffixes = list_some(sorted({name.suffix or name.name for name in names}))
    return f", only files called {suffixes}" if suffixes else ""


def _read_csv(file: Path) -> list[LabelledPhoto]:
    table = read_paths(file, None, "label")
    check_column(file, table["path"], table["label"] == "", "label is empty")
    if not has_boxes(table):
        check_column(file, table["path"], table["path"].duplicated(), "path occurs twice")
    weights = _read_weights(file, table)
    splits = splits_of(file, table)
    missing = ~table["file"].map(os.path.isfile).astype(bool)  # names too long count as missing
    check_column(file, table["path"], missing, f"no such file (relative paths start at {find_photo_root(file, table)})")
    rows = zip(table["path"], table["file"], table["label"], weights, splits, strict=True)
    photos = [LabelledPhoto(name, path, label, weight, split) for name, path, label, weight, split in rows]
    return gather_boxes(photos, file, table) if has_boxes(table) else photos


def _read_weights(file: Path, table: pd.DataFrame) -> list[float]:
    if "weight" not in table:
        return [1.0] * len(table)
    weights = pd.to_numeric(table["weight"].replace("", "1"), errors="coerce")
    check_column(file, table["path"], ~(np.isfinite(weights) & (weights > 0)), "weight is not a number over 0")
    return [float(weight) for weight in weights]
