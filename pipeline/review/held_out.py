"""Photos the queue must not choose by doubt, or by the model's own opinion: test groups, and training photos."""

import csv
import json
import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError, one_line
from pipeline.labelled.csv_paths import to_nfc
from pipeline.labelled.csv_table import read_table, splits_of
from pipeline.model.checkpoint import SPLIT_FILE
from pipeline.results.run_record import newest_run_records
from pipeline.review.rows import Flags, ReviewRows


def find_test_photos(rows: ReviewRows, file: Path) -> Flags:
    """Find the photos of groups in the test split of a splits.csv; none without the file.

    Raises:
        DataError: the file is damaged.
    """
    is_test = np.zeros(len(rows), bool)
    if not file.is_file():
        return is_test
    try:
        head, *lines = file.read_text(encoding="utf-8").splitlines()
        pattern = re.compile(json.loads(head.removeprefix("#"))["group"])
        tests = {group for group, split, *_ in csv.reader(lines[1:]) if split == "test"}
    except (ValueError, KeyError, TypeError, re.error) as error:
        raise DataError(f"{file}: can't be read ({one_line(error, 200)}); correct it, or restore it") from None
    for row, path in enumerate(rows.table["path"].to_pylist()):
        found = pattern.search(path)
        is_test[row] = found is not None and found[1 if pattern.groups else 0] in tests
    return is_test


def find_training_photos(rows: ReviewRows) -> Flags:
    """Find the photos used for the training of the model behind their row, by the split.csv in its folder.

    Photos of its validation count too: they chose the best epoch. Models without a split.csv, and models no longer
    in their folder, leave all photos.
    """
    is_trained_on = np.zeros(len(rows), bool)
    run_ids = rows.table["run_id"].cast(pa.string())
    used = set(pc.unique(run_ids).to_pylist())
    runs_of_model: dict[str, list[str]] = defaultdict(list)
    for record in newest_run_records(rows.out):
        if record.summary.run_id in used:
            runs_of_model[str(record.settings.get("model", ""))].append(record.summary.run_id)
    for model, runs in runs_of_model.items():
        file = Path(os.path.expanduser(model), SPLIT_FILE)
        if file.is_file():
            names = _read_training_names(file, rows.source)
            of_model = np.flatnonzero(pc.is_in(run_ids, pa.array(runs)).to_numpy())
            paths = rows.table["path"].take(of_model).to_pylist()
            is_trained_on[of_model] = [to_nfc(path) in names for path in paths]
    return is_trained_on


def _read_training_names(file: Path, source: Path | None) -> set[str]:
    """Read the training photos of a split.csv as paths relative to the input folder of a run, in composed form.

    If the way from the model to its data leads nowhere, on another machine, their names must do.
    """
    table = read_table(file, "path", "split")
    splits = splits_of(file, table)
    names = [name for name, split in zip(table["path"], splits, strict=True) if split in ("train", "validation")]
    way = table["root"].iloc[0] if "root" in table and len(table) else ""
    root = (file.parent / way).resolve()
    if way and source is not None and root.is_dir():
        names = [os.path.relpath(root / name, source.resolve()) for name in names]
    return {to_nfc(name) for name in names}
