"""Photos of test groups, not to be chosen by doubt, and photos used for training, whose labels the model has learnt."""

import csv
import io
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError, DataError, one_line
from pipeline.labelled.csv_paths import match_names, name_csv_path, to_nfc
from pipeline.report.training_photos import read_training_paths
from pipeline.results.run_record import newest_run_records
from pipeline.review.rows import Flags, ReviewRows

_COLUMN = "column:"


def find_test_photos(rows: ReviewRows, file: Path, labels: Path | None = None) -> Flags:
    """Find the photos of groups in the test split of a splits.csv; none without the file.

    Args:
        rows: the photos.
        file: the splits.csv, with the rule of its groups: a regular expression on the path, `column:NAME`, or `photo`.
        labels: the CSV with that column.

    Raises:
        ConfigError: the groups are in the column of a CSV, and none is named.
        DataError: a file is damaged, or lacks the column.
    """
    if not file.is_file():
        return np.zeros(len(rows), bool)
    try:
        head, _, body = file.read_text(encoding="utf-8").partition("\n")
        rule = str(json.loads(head.removeprefix("#"))["group"])
        tests = {row["group"] for row in csv.DictReader(io.StringIO(body, newline="")) if row["split"] == "test"}
        re.compile(rule)
    except (ValueError, KeyError, TypeError, re.error, csv.Error) as error:
        raise DataError(f"{file}: can't be read ({one_line(error, 200)}); correct it, or restore it") from None
    return np.array([group in tests for group in _name_groups(rows, rule, labels)], bool)


def _name_groups(rows: ReviewRows, rule: str, labels: Path | None) -> list[str | None]:
    """Name the group of each photo, None for a photo outside all groups."""
    paths = rows.table["path"].to_pylist()
    if rule == "photo":
        hashes: list[str | None] = rows.table["content_hash"].to_pylist()
        return hashes
    if rule.startswith(_COLUMN):
        column = rule.removeprefix(_COLUMN)
        if labels is None:
            raise ConfigError(f"the groups of the splits are in column {column!r} of a CSV; name it: --labels")
        from pipeline.labelled.csv_table import read_table  # imports pandas, half a second before the first photo

        table = read_table(labels, "path", column)
        names = [name_csv_path(path, rows.source or labels.parent) for path in table["path"]]
        groups = match_names(dict(zip(names, table[column].str.strip(), strict=True)), paths)
        return [groups.get(path) for path in paths]
    pattern = re.compile(rule)
    matches = (pattern.search(path) for path in paths)
    return [match and match[1 if pattern.groups else 0] for match in matches]


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
        paths_of_model = read_training_paths(model, str(rows.source or ""))
        if paths_of_model:
            of_model = np.flatnonzero(pc.is_in(run_ids, pa.array(runs)).to_numpy())
            paths = rows.table["path"].take(of_model).to_pylist()
            is_trained_on[of_model] = [to_nfc(path) in paths_of_model for path in paths]
    return is_trained_on
