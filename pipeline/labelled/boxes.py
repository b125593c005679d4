"""The boxes of a labelled data set: rows of a CSV -> photos with the places of their defects."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import DataError
from pipeline.labelled.csv_table import check_column
from pipeline.labelled.good_labels import is_good_label
from pipeline.labelled.splits import CORNERS, LabelledBox, LabelledPhoto


def has_boxes(table: pd.DataFrame) -> bool:
    """Tell whether a CSV has the columns of boxes."""
    return set(CORNERS) <= set(table)


def select_boxes(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a CSV with a box, corners as numbers; rows with four empty corners have none.

    Raises:
        DataError: a column is missing, or a row's corners are not a box.
    """
    corners = list(CORNERS)
    existing = [name for name in corners if name in table]
    if existing != corners:
        listed = ", ".join(existing) or "none"
        raise DataError(f"{file}: has the columns {listed} of {', '.join(corners)}; a box needs all four")
    is_boxed = (table[corners] != "").any(axis=1)
    numbers = table[corners].apply(lambda column: pd.to_numeric(column, errors="coerce")).astype(float)
    x0, y0, x1, y1 = numbers.to_numpy().T  # (n,) each
    is_box = pd.Series(np.isfinite(x0 + y0 + x1 + y1) & (x0 < x1) & (y0 < y1), table.index)
    check_column(file, table["path"], is_boxed & ~is_box, "x0, y0, x1, y1 are not a box")
    return table.assign(**{name: numbers[name] for name in corners})[is_boxed]


def gather_boxes(photos: Sequence[LabelledPhoto], file: Path, table: pd.DataFrame) -> list[LabelledPhoto]:
    """Make one photo of all rows with its path: with the boxes of all of them.

    A photo counts under its most frequent label. One with a defect but without a box has no known places.

    Args:
        photos: one for each row of the table.
        file, table: the CSV, its column path as names of photos.

    Raises:
        DataError: a box is none, or the rows of a photo contradict each other.
    """
    boxed = select_boxes(file, table)
    box_of = dict(zip(boxed.index, boxed[list(CORNERS)].to_numpy(float).tolist(), strict=True))
    rows: dict[str, list[int]] = {}
    for row, photo in enumerate(photos):
        rows.setdefault(photo.name, []).append(row)
    labels = table["label"]
    is_good = labels.map(is_good_label).astype(bool)
    has_box = pd.Series([index in box_of for index in table.index], table.index)
    check_column(file, table["path"], is_good & has_box, "a box is labelled as good")
    gathered = []
    for numbers in rows.values():
        first, indices = photos[numbers[0]], [table.index[number] for number in numbers]
        if any((photos[number].split, photos[number].weight) != (first.split, first.weight) for number in numbers):
            raise DataError(f"{file}: the rows of {first.name} differ in split or weight; correct the CSV")
        boxes = [LabelledBox(labels[index], tuple(box_of[index])) for index in indices if index in box_of]
        unplaced = [labels[index] for index in indices if index not in box_of and not is_good[index]]
        label = Counter([*(box.label for box in boxes), *unplaced] or [first.label]).most_common(1)[0][0]
        gathered.append(replace(first, label=label, boxes=None if unplaced else tuple(boxes)))
    return gathered
