"""Reading a results folder back, also while a run writes it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, StoreError
from pipeline.schema import SCHEMA

if TYPE_CHECKING:  # half a second to import, and a run needs none of it
    import pandas as pd


def part_files(out: Path) -> list[Path]:
    """The finished parts of a results folder, in the order in which they were committed."""
    return sorted((out / "table").glob("part-*.parquet"))


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


def read_results(out: str | Path, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """The table of a results folder: the newest row of each path.

    Args:
        out: the results folder.
        columns: which columns, all by default.

    Returns:
        One row a path, sorted by path. Dictionary columns are categorical, lists are NumPy arrays.

    Raises:
        ConfigError: the folder holds no results, or a column is unknown.
        StoreError: a part is damaged.
    """
    if not (Path(out) / "table").is_dir():
        raise ConfigError(f"{out} is no results folder: it has no table/; name the --out of a run")
    wanted = list(SCHEMA.names if columns is None else columns)
    if unknown := set(wanted) - set(SCHEMA.names):
        raise ConfigError(f"no such column: {', '.join(sorted(unknown))}; there are {', '.join(SCHEMA.names)}")
    keys = [name for name in ("path", "run_id") if name not in wanted]
    frame = read_rows(Path(out), [*wanted, *keys])
    # a stable sort on the run alone: compacting moves rows between parts, and clocks jump, run ids don't
    order = frame["run_id"].astype(str).argsort(kind="stable")
    newest: pd.DataFrame = frame.iloc[order].drop_duplicates("path", keep="last").sort_values("path", ignore_index=True)
    return newest.loc[:, wanted]


def read_rows(out: Path, columns: Sequence[str]) -> "pd.DataFrame":
    """These columns of every row of the table, also of those that a newer one has replaced, in no order."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    tables = [schema.empty_table(), *_read_parts(out, columns)]
    table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    frame: pd.DataFrame = table.select(schema.names).to_pandas()
    return frame


def _read_parts(out: Path, columns: Sequence[str]) -> list[pa.Table]:
    while True:
        try:
            return [read_part(part, columns) for part in part_files(out)]
        except FileNotFoundError:
            continue  # compacted meanwhile; the new parts have its rows


def stack_attention(frame: "pd.DataFrame") -> npt.NDArray[np.float32]:
    """The maps of a table as one array.

    Args:
        frame: rows of `read_results` with attention, grid_h and grid_w; failed rows are left out.

    Returns:
        (n, grid_h, grid_w) float32, raw as the model gave them, in the order of the rows.

    Raises:
        ValueError: the rows come from models with different grids; select those of one first.
    """
    rows = frame[frame["attention"].notna()]
    grids = set(zip(rows["grid_h"], rows["grid_w"], strict=True))
    if len(grids) > 1:
        raise ValueError(f"maps of different grids can't be stacked: {sorted(grids)}; select the rows of one grid")
    if not grids:
        return np.empty((0, 0, 0), np.float32)
    grid_h, grid_w = grids.pop()
    return np.stack(rows["attention"].to_list()).astype(np.float32).reshape(-1, int(grid_h), int(grid_w))
