"""One part of the table: reading it safely, and joining several."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import StoreError, one_line
from pipeline.results.schema import SCHEMA
from pipeline.storage.files import open_parquet
from pipeline.storage.location import Location


def read_part(part: Location, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the columns of `SCHEMA` present in one part.

    Raises:
        StoreError: the part is damaged.
        FileNotFoundError: it is gone; a compaction has put its rows into other parts.
    """
    with _open_part(part) as file:
        return file.read(columns=_list_present(file, columns or SCHEMA.names))


def read_part_rows(part: Location, columns: Sequence[str], rows: npt.NDArray[np.signedinteger[Any]]) -> pa.Table:
    """Read a few rows of one part, and of its row groups only those with any of the rows.

    Args:
        part: of a table.
        columns: as of `read_part`, which names the errors too.
        rows: numbers of rows of the part, ascending.
    """
    with _open_part(part) as file:
        groups = range(file.num_row_groups)
        ends = np.cumsum([file.metadata.row_group(group).num_rows for group in groups], dtype=np.int64)
        group_of_row = np.searchsorted(ends, rows, side="right")
        needed = np.unique(group_of_row)
        table = file.read_row_groups(needed.tolist(), columns=_list_present(file, columns))
    lengths = np.diff(ends, prepend=0)
    left_out = np.where(np.isin(groups, needed), 0, lengths).cumsum()  # rows before the end of each group, not read
    return table.take(pa.array(rows - left_out[group_of_row]))


def find_filled_rows(part: Location, column: str) -> npt.NDArray[np.bool_]:
    """Mark the rows of row groups with any value of a column of numbers, or of lists of numbers.

    From the part's metadata, so the column is not read. Errors as of `read_part`.
    """
    with _open_part(part) as file:
        metadata = file.metadata
    masks = [np.empty(0, bool)]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = (group.column(place) for place in range(group.num_columns))
        chunk = next((chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] == column), None)
        counted = chunk and chunk.statistics  # without statistics, values must be expected
        masks.append(np.full(group.num_rows, chunk is not None and (not counted or counted.num_values > 0)))
    return np.concatenate(masks)


def read_part_metadata(part: Location) -> dict[bytes, bytes]:
    """Read the key-value metadata of one part.

    Raises:
        StoreError: the part is damaged.
    """
    with _open_part(part) as file:
        return file.metadata.metadata or {}


def concatenate_parts(tables: Sequence[pa.Table], columns: Sequence[str]) -> pa.Table:
    """Join tables of parts; columns missing from old parts are null."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="default").unify_dictionaries()


def newest_rows(keys: pa.Table) -> pa.Array:
    """Find the newest row of each path: the largest run_id, and among equal ones the last; sorted by path.

    By the run alone: compacting moves rows between parts, and clocks jump, but run ids don't.

    Args:
        keys: columns path and run_id, rows in the order of the parts.

    Returns:
        Row numbers of `keys`.
    """
    # A stable sort, so the last row of each path is the newest. No pa.array() on the way: it imports pandas, half a
    # second for a run with nothing to do.
    rows = keys.select(["path"]).append_column("run_id", keys["run_id"].cast(pa.string()))
    order = pc.sort_indices(rows, [("path", "ascending"), ("run_id", "ascending")])
    path = rows["path"].take(order).combine_chunks()
    last = len(path) - 1
    is_last = pc.not_equal(path[:last], path[1:]) if last > 0 else None
    return pa.concat_arrays([order[:last].filter(is_last), order[last:]]) if last > 0 else order


def _list_present(file: pq.ParquetFile, columns: Sequence[str]) -> list[str]:
    present = set(file.schema_arrow.names)
    return [name for name in columns if name in present]


@contextmanager
def _open_part(part: Location) -> Iterator[pq.ParquetFile]:
    options = {} if isinstance(part, Path) else {"pre_buffer": True}  # one request for neighbouring columns
    try:
        with pq.ParquetFile(open_parquet(part), page_checksum_verification=True, **options) as file:
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{part} can't be read: {one_line(error)}; --repair sets it aside, and its photos run again"
        ) from error
