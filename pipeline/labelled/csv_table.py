"""CSV files with one row per photo: read as text, checked with line numbers."""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.errors import ParserWarning

from pipeline.errors import DataError, one_line
from pipeline.labelled.clean_label import clean_label
from pipeline.labelled.csv_paths import resolve_csv_path

SPLITS = ("train", "validation", "test")
_SPLIT_ALIASES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation"}
_LABEL_COLUMNS = ("label", "expected")
_LISTED_AT_MOST = 5


def read_table(file: Path, *columns: str) -> pd.DataFrame:
    """Read a CSV as text: names of columns and labels without blanks at their ends, labels in NFC.

    Raises:
        DataError: it can't be read, or lacks one of the columns.
    """
    try:
        # If every row ends with a comma, pandas would take the first column for row names.
        with warnings.catch_warnings(action="ignore", category=ParserWarning):
            table = pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False).fillna("")  # short rows
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{file}: can't be read as CSV ({one_line(error)}); save it as UTF-8") from error
    names = table.columns.str.strip()
    table.columns = names if names.is_unique else table.columns
    for column in set(_LABEL_COLUMNS) & set(table):
        table[column] = table[column].map(clean_label)
    for column in columns:
        if column not in table and len(names) == 1 and re.search(r"[;\t]", names[0]):
            raise DataError(f"{file}: its columns are separated by semicolons or tabs; separate them by commas")
        if column not in table:
            raise DataError(
                f"{file}: has no column {column!r}, only {', '.join(table.columns)}; the header must name it"
            )
    return table


def read_paths(file: Path, folder: Path | None = None, *columns: str) -> pd.DataFrame:
    """Read a CSV with a column path. Paths become the names of `resolve_csv_path`; their files go to a column file.

    Args:
        file: the CSV.
        folder: relative paths start here; None: at the column root if there is one, else in the folder of the CSV.
        columns: further columns that must be there.

    Raises:
        DataError: it can't be read, lacks a column, or a path is empty.
    """
    table = read_table(file, "path", *columns)
    check_column(file, table["path"], table["path"].str.strip() == "", "path is empty")
    folder = find_photo_root(file, table) if folder is None else folder
    paths = [resolve_csv_path(path, folder) for path in table["path"]]
    names = pd.Series([path.name for path in paths], index=table.index, dtype=object)
    files = pd.Series([path.file for path in paths], index=table.index, dtype=object)
    return table.assign(path=names, file=files)


def find_photo_root(file: Path, table: pd.DataFrame) -> Path:
    """Return the folder that relative paths of a CSV start at.

    The split.csv of a model has a column root, the way from the CSV to the photos. Without it, or if it leads nowhere,
    paths start in the folder of the CSV.
    """
    roots = set(table["root"]) if "root" in table else set()
    root = file.parent / roots.pop() if len(roots) == 1 else file.parent
    return root.resolve() if root.is_dir() else file.parent


def splits_of(file: Path, table: pd.DataFrame) -> list[str | None]:
    """Return the split of each row of a CSV, None for rows without one.

    Raises:
        DataError: names the rows with an unknown split.
    """
    if "split" not in table:
        return [None] * len(table)
    splits = table["split"].map(split_name)
    check_column(file, table["path"], ~splits.isin(("", *SPLITS)), f"split is none of {', '.join(SPLITS)}")
    return [split or None for split in splits]


def split_name(name: str) -> str:
    """Return our name of a split ("val" is "validation"); other names are returned in lower case."""
    name = name.strip().lower()
    return _SPLIT_ALIASES.get(name, name)


def check_column(file: Path, paths: pd.Series, is_wrong: pd.Series, reason: str) -> None:
    """Raise for wrong rows, naming the first few by line (the header is line 1) and path."""
    if is_wrong.any():
        rows = [(int(row) + 2, paths[row]) for row in np.flatnonzero(is_wrong)]
        listed = list_some(f"line {line} ({path})" for line, path in rows)
        raise DataError(f"{file}: {reason} in {listed}; correct the CSV")


def list_some(items: Iterable[str]) -> str:
    """List the first few items, and the number of the rest."""
    names = list(items)
    more = f" and {len(names) - _LISTED_AT_MOST} more" if len(names) > _LISTED_AT_MOST else ""
    return ", ".join(names[:_LISTED_AT_MOST]) + more
