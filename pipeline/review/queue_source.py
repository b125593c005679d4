"""Everything that only some orders of the queue need, read from the disk when they ask for it."""

import csv
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from pipeline.errors import DataError, one_line
from pipeline.records import Floats
from pipeline.review.rows import Flags, Integers, ReviewRows
from pipeline.reviews.files import REVIEWS, SPLITS_FILE


@dataclass(frozen=True)
class QueueSource:
    """Reads for the rows of a results folder.

    Attributes:
        rows: the rows.
        labels: a CSV path,label, or None.
    """

    rows: ReviewRows
    labels: Path | None = None

    def find_test_photos(self) -> Flags:
        """Find the photos of groups in the test split of splits.csv; none without the file."""
        return find_test_photos(self.rows, self.rows.out / REVIEWS / SPLITS_FILE)

    def read_maps(self, rows: Integers) -> list[Floats | None]:
        """Read the maps of a few rows; None for a row replaced meanwhile."""
        from pipeline.results.read import read_results

        paths = self.rows.table["path"].take(rows)
        frame = read_results(self.rows.out, ["path", "attention"], pc.field("path").isin(paths))
        maps = dict(zip(frame["path"], frame["attention"], strict=True))
        return [maps.get(path) for path in paths.to_pylist()]


def find_test_photos(rows: ReviewRows, file: Path) -> Flags:
    """Find the photos of test groups by a splits.csv.

    Raises:
        DataError: the file is damaged.
    """
    is_test = np.zeros(len(rows), bool)
    if not file.is_file():
        return is_test
    try:
        head, *lines = file.read_text(encoding="utf-8").splitlines()
        rule = str(json.loads(head.removeprefix("#"))["group"])
        tests = {group for group, split, *_ in csv.reader(lines[1:]) if split == "test"}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: can't be read ({one_line(error, 200)}); correct it, or restore it") from None
    pattern = re.compile(rule)
    for row, path in enumerate(rows.table["path"].to_pylist()):
        found = pattern.search(path)
        is_test[row] = found is not None and found[1 if pattern.groups else 0] in tests
    return is_test
