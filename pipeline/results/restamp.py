"""Rows of photos that need no other prediction: their new mtime, or the current decision, part by part."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.results.done_index import DoneIndex, Ints, to_arrow
from pipeline.results.folder import ResultsFolder
from pipeline.results.parts import read_part
from pipeline.results.schema import SCHEMA, set_columns
from pipeline.storage.location import Location


@dataclass(frozen=True)
class TouchedPart:
    """Rows of one part to be rewritten.

    Attributes:
        part: the part.
        rows: their numbers in it, ascending.
        mtimes: the new mtime of each, nanoseconds.
    """

    part: Location
    rows: Ints
    mtimes: Ints


@dataclass(frozen=True)
class TouchedRows:
    """Rows of a table to be rewritten, by part."""

    parts: tuple[TouchedPart, ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(len(part.rows) for part in self.parts)


def split_touched(index: DoneIndex, rows: Ints, mtimes: Ints) -> TouchedRows:
    """Sort rows of a table, in any order, by part."""
    order = np.argsort(rows)
    rows, mtimes = rows[order], mtimes[order]
    return TouchedRows(
        tuple(TouchedPart(part, rows_of_part, mtimes[place]) for part, place, rows_of_part in index.split_by_part(rows))
    )


def restamp(
    results: ResultsFolder,
    touched: TouchedRows,
    judge: Callable[[pa.Table], pa.Table] = lambda table: table,
) -> None:
    """Write rows once more, as rows of this run with a new mtime, one part for each old one.

    Args:
        results: the table's folder, held by this run.
        touched: the rows.
        judge: puts the current decision into rows.
    """
    for touched_part in touched.parts:
        table = read_part(touched_part.part).take(to_arrow(touched_part.rows))
        table = pa.concat_tables([SCHEMA.empty_table(), table], promote_options="default")  # columns of old parts
        stamps, run_ids = touched_part.mtimes.tolist(), [results.run_id] * len(table)
        results.write_part(judge(set_columns(table, mtime=stamps, run_id=run_ids)))
