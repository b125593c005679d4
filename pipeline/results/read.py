"""Reading a results folder back, also while a run writes it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, StoreError
from pipeline.results.schema import SCHEMA

if TYPE_CHECKING:  # half a second to import, and a run needs none of it
    import pandas as pd

PART_NAME = re.compile(r"part-\d{8}T\d{6}Z-\d+\.parquet")  # part-RUN-NUMBER; another file is somebody else's
Filter = tuple[str, str, Any]  # column, one of == != < <= > >= in "not in", value
Where: TypeAlias = pc.Expression | Sequence[Filter] | Sequence[Sequence[Filter]]


def part_files(out: Path) -> list[Path]:
    """The finished parts of a results folder, in the order in which they were committed."""
    return sorted(file for file in (out / "table").glob("part-*.parquet") if PART_NAME.fullmatch(file.name))


def read_part(part: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One part, with the columns of `SCHEMA` that it has.

    Raises:
        StoreError: the part is damaged.
        FileNotFoundError: it is gone; a compaction has put its rows into others.
    """
    with _opened(part) as file:
        present = set(file.schema_arrow.names)
        wanted = [name for name in (columns or SCHEMA.names) if name in present]
        return file.read(columns=wanted)


def part_metadata(part: Path) -> dict[bytes, bytes]:
    """The key-value metadata of one part.

    Raises:
        StoreError: the part is damaged.
    """
    with _opened(part) as file:
        return file.metadata.metadata or {}


@contextmanager
def _opened(part: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{part} can't be read: {reason}; --repair sets it aside, and its photos run again") from error


def read_results(out: str | Path, columns: Sequence[str] | None = None, where: Where | None = None) -> "pd.DataFrame":
    """The table of a results folder: the newest row of each path.

    Args:
        out: the results folder.
        columns: which columns, all by default.
        where: which of the newest rows: `[("label", "==", "short"), ("score", "<", 0.8)]` where all of it holds, a list
            of such lists where any of them does, as the `filters` of pandas.read_parquet, or a pyarrow.compute
            Expression. It may name columns that are not in `columns`. A missing value, as the score of a failed
            photo, meets no condition but "not in".

    Returns:
        One row a path, sorted by path. Dictionary columns are categorical, lists are NumPy arrays.

    Raises:
        ConfigError: the folder holds no results, a column is unknown, or `where` can't be applied to the table.
        StoreError: a part is damaged.
    """
    if not (Path(out) / "table").is_dir():
        raise ConfigError(f"{out} is no results folder: it has no table/; name the --out of a run")
    wanted = list(SCHEMA.names if columns is None else columns)
    _check_columns(wanted)
    condition = _condition(where)
    while True:
        try:
            table = _current_rows(part_files(Path(out)), list(dict.fromkeys(["path", *wanted])), condition)
        except FileNotFoundError:
            continue  # compacted meanwhile; the new parts have its rows
        frame: pd.DataFrame = table.to_pandas().sort_values("path", ignore_index=True)
        return frame.loc[:, wanted]


def read_rows(out: Path, columns: Sequence[str]) -> "pd.DataFrame":
    """These columns of every row of the table, also of those that a newer one has replaced, in no order."""
    while True:
        try:
            tables = [read_part(part, columns) for part in part_files(out)]
        except FileNotFoundError:
            continue  # as above
        frame: pd.DataFrame = _together(tables, columns).to_pandas()
        return frame


def newest_rows(keys: pa.Table) -> pa.Array:
    """Where the newest row of each path is: of the largest run_id, of equal ones the last; sorted by path.

    By the run alone: compacting moves rows between parts, and clocks jump, run ids don't.

    Args:
        keys: columns path and run_id, rows in the order of the parts.

    Returns:
        Row numbers of `keys`.
    """
    rows = pa.table([keys["path"], keys["run_id"].cast(pa.string()), np.arange(len(keys))], ["path", "run_id", "row"])
    order = pc.sort_indices(rows, [("path", "ascending"), ("run_id", "descending"), ("row", "descending")])
    path = rows["path"].take(order).combine_chunks()
    is_first = np.ones(len(path), bool)
    is_first[1:] = pc.not_equal(path[1:], path[:-1])
    return order.filter(pa.array(is_first))


def _current_rows(parts: Sequence[Path], columns: Sequence[str], condition: pc.Expression) -> pa.Table:
    """The newest row of each path, where it meets the condition, in the order of the parts."""
    lists = [name for name in columns if pa.types.is_nested(SCHEMA.field(name).type)]
    others = [name for name in columns if name not in lists]
    needed = list(dict.fromkeys(["path", "run_id", *others, *_columns_of(condition)]))
    pieces = [read_part(part, needed) for part in parts]
    table = _together(pieces, needed).append_column("row", pa.array(np.arange(sum(map(len, pieces)))))
    is_wanted = np.zeros(len(table), bool)
    is_wanted[table.take(newest_rows(table)).filter(condition)["row"].to_numpy()] = True
    found = table.select(others).filter(pa.array(is_wanted))
    if lists:  # the bulk of the table: only of parts that have such rows
        ends = np.cumsum([len(piece) for piece in pieces], dtype=int)
        rows_of_parts = [is_wanted[end - len(piece) : end] for piece, end in zip(pieces, ends, strict=True)]
        wanted = [(part, rows) for part, rows in zip(parts, rows_of_parts, strict=True) if rows.any()]
        bulk = _together([read_part(part, lists).filter(pa.array(rows)) for part, rows in wanted], lists)
        for name in lists:
            found = found.append_column(name, bulk[name])
    return found


def _together(tables: Sequence[pa.Table], columns: Sequence[str]) -> pa.Table:
    """Tables of parts as one; columns that old parts lack are null."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="default").unify_dictionaries()


def _condition(where: Where | None) -> pc.Expression:
    try:
        if not isinstance(where, pc.Expression):
            where = pq.filters_to_expression(where) if where else pc.scalar(True)
        SCHEMA.empty_table().filter(where)
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        if unknown := re.match(r"No match for FieldRef\.Name\((.*?)\) in ", reason):
            _check_columns([unknown[1]])
        example = '[("label", "==", "short"), ("score", "<", 0.8)]'
        raise ConfigError(f"where can't be applied: {reason}; it is like {example}, or a pyarrow Expression") from error
    return where


def _columns_of(condition: pc.Expression) -> list[str]:
    """The columns that a condition needs, which an Expression doesn't tell: it fails without them."""

    def fails_without(name: str) -> bool:
        try:
            SCHEMA.empty_table().drop_columns([name]).filter(condition)
        except pa.ArrowInvalid:
            return True
        return False

    return [name for name in SCHEMA.names if fails_without(name)]


def _check_columns(names: Sequence[str]) -> None:
    if unknown := set(names) - set(SCHEMA.names):
        raise ConfigError(f"no such column: {', '.join(sorted(unknown))}; there are {', '.join(SCHEMA.names)}")
