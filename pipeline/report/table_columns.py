"""The small columns of a whole table in memory, 27 bytes a row: enough to count rows and to choose among them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.records import Floats
from pipeline.report.part_columns import COLUMN_TYPES, Integers, Mask, PartColumns, PartReader
from pipeline.report.threads import map_in_threads
from pipeline.results.current_rows import Hashes, find_newest, rank_texts
from pipeline.results.parts import concatenate_parts, read_part_rows
from pipeline.storage.location import Location

_OF_ROWS = ("path_hash", "run", "label", "score", "decision", "unfamiliar", "is_failed", "is_reviewed")
_BLOCK = 2**18  # rows; the arrays of small parts are joined early, or they leave memory in pieces


@dataclass(frozen=True)
class TableColumns:
    """The small columns of a table, one element a row in the order of the parts; replaced rows too.

    Attributes:
        parts: the parts.
        ends: number of rows up to the end of each part.
        is_current: the newest row of each path.
        path_hash: `hash_paths` of the path.
        run: place of the run among `runs`.
        label: number of the label in `labels`; -1 without one, as in failed rows.
        score: NaN in failed rows.
        decision: number of the decision in `OUTCOMES`; -1 without one.
        unfamiliar: share of held-out training photos that are more typical; NaN without a value.
        is_failed: failed rows.
        is_reviewed: rows of photos with reviews.
        failures: the failed rows in more detail.
        runs: ids of the runs, oldest first.
        labels: the labels.
    """

    parts: Sequence[Location]
    ends: Integers
    is_current: Mask
    path_hash: Hashes
    run: Integers
    label: Integers
    score: Floats
    decision: Integers
    unfamiliar: Floats
    is_failed: Mask
    is_reviewed: Mask
    failures: "FailedRows"
    runs: Sequence[str]
    labels: Sequence[str]

    @property
    def is_remote(self) -> bool:
        """Whether the parts lie in a store of objects."""
        return _are_remote(self.parts)

    def label_name(self, number: int) -> str:
        """Return the label behind a number, "failed" for -1."""
        return "failed" if number < 0 else self.labels[number]

    def read_rows(self, rows: Integers, columns: Sequence[str]) -> pd.DataFrame:
        """Read columns of a few rows.

        Args:
            rows: numbers of rows of the table, in ascending order.
            columns: names of columns; those missing from old parts are empty.

        Raises:
            FileNotFoundError: a part is gone; a compaction has put its rows into other parts.
        """

        def read(item: tuple[Location, Integers]) -> pa.Table:
            part, local = item
            return read_part_rows(part, columns, local)

        starts = [0, *self.ends.tolist()]
        bounds = np.searchsorted(rows, starts).tolist()
        wanted = [
            (part, rows[low:high] - start)
            for part, start, (low, high) in zip(self.parts, starts, pairwise(bounds), strict=False)
            if low < high
        ]
        tables = list(map_in_threads(read, wanted, waits=self.is_remote))
        frame: pd.DataFrame = concatenate_parts(tables, columns).to_pandas()
        return frame


@dataclass(frozen=True)
class FailedRows:
    """The failed rows of a table, replaced ones too.

    Attributes:
        row: number of the row in the table.
        reason: number of the error in `reasons`.
        processed_at: microseconds since 1970 UTC.
        is_broken: failed by the file's own bytes; the others were out of reach, and have no content hash.
        reasons: the errors.
    """

    row: Integers
    reason: Integers
    processed_at: Integers
    is_broken: Mask
    reasons: Sequence[str]


def read_table_columns(parts: Sequence[Location], reviewed: Collection[str] = ()) -> TableColumns:
    """Read the small columns of all parts, several at a time.

    Args:
        parts: of one table, in the order of their commit; parts without rows are fine.
        reviewed: content hashes of photos with reviews.

    Raises:
        FileNotFoundError: a part is gone; a compaction has put its rows into other parts.
        StoreError: a part is damaged.
    """
    reader = PartReader(reviewed)
    columns, failures, lengths = _join_parts(map_in_threads(reader.read, parts, waits=_are_remote(parts)))
    ranks = rank_texts(reader.runs.of_text)
    labels, reasons = list(reader.labels.of_text), list(reader.reasons.of_text)
    return TableColumns(
        parts=parts,
        ends=np.cumsum(lengths, dtype=np.int64),
        is_current=find_newest(columns["path_hash"], columns["run"], ranks),
        failures=FailedRows(**failures, reasons=reasons),
        runs=sorted(reader.runs.of_text),
        labels=labels,
        **columns | {"run": ranks[columns["run"]]},
    )


def _are_remote(parts: Sequence[Location]) -> bool:
    return any(not isinstance(part, Path) for part in parts)


def _join_parts(parts: Iterable[PartColumns]) -> tuple[dict[str, Any], dict[str, Any], list[int]]:
    """Join the columns of parts: those of all rows, those of failed rows; and the number of rows of each part."""
    lengths: list[int] = []
    blocks: dict[str, list[Any]] = {name: [np.empty(0, dtype)] for name, dtype in COLUMN_TYPES.items()}
    waiting: list[PartColumns] = []

    def add_block() -> None:
        for pieces, block in zip(zip(*waiting, strict=True), blocks.values(), strict=False):
            block.append(np.concatenate(pieces))
        waiting.clear()

    rows = rows_in_blocks = 0
    for part in parts:
        waiting.append(part._replace(row=part.row + rows))
        lengths.append(len(part.path_hash))
        rows += lengths[-1]
        if rows - rows_in_blocks >= _BLOCK:
            add_block()
            rows_in_blocks = rows
    add_block()
    joined = {name: np.concatenate(blocks.pop(name)) for name in COLUMN_TYPES}
    return {name: joined.pop(name) for name in _OF_ROWS}, joined, lengths
