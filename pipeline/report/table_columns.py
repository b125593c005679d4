"""The small columns of a whole table in memory, 23 bytes a row: enough to count rows and to choose among them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decision import OUTCOMES
from pipeline.report.threads import map_in_threads
from pipeline.results.current_rows import Hashes, find_newest, hash_paths, rank_texts
from pipeline.results.parts import concatenate_parts, read_part, read_part_rows
from pipeline.storage.location import Location

Integers = npt.NDArray[np.signedinteger[Any]]
Mask = npt.NDArray[np.bool_]

_SMALL = ["path", "run_id", "status", "label", "score", "decision"]
_OF_FAILED = ["error", "processed_at", "content_hash"]
_OF_ROWS = ("path_hash", "run", "label", "score", "decision", "is_failed", "is_reviewed")


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
    score: npt.NDArray[np.float32]
    decision: Integers
    is_failed: Mask
    is_reviewed: Mask
    failures: "FailedRows"
    runs: Sequence[str]
    labels: Sequence[str]

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
        tables = list(map_in_threads(read, wanted, waits=_are_remote(self.parts)))
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


class _Numbers:
    """Numbers for texts, in the order of their first appearance; shared by threads."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.of_text = {text: number for number, text in enumerate(texts)}
        self._lock = Lock()

    def number(self, column: pa.ChunkedArray) -> Integers:
        """Number the texts of a column; -1 for missing ones."""
        result = np.empty(len(column), np.int32)
        start = 0
        for chunk in column.chunks:
            encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
            texts = encoded.dictionary.to_pylist()
            with self._lock:
                numbers = [self.of_text.setdefault(text, len(self.of_text)) for text in texts]
            indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            result[start : start + len(chunk)] = np.array([*numbers, -1], np.int32)[indices]
            start += len(chunk)
        return result


class _PartColumns(NamedTuple):
    """The columns of one part; the last four have its failed rows only."""

    path_hash: Hashes
    run: Integers
    label: Integers
    score: npt.NDArray[np.float32]
    decision: Integers
    is_failed: Mask
    is_reviewed: Mask
    row: Integers
    reason: Integers
    processed_at: Integers
    is_broken: Mask


_TYPES = dict(zip(_PartColumns._fields, ("u8", "i4", "i4", "f4", "i1", "?", "?", "i8", "i4", "i8", "?"), strict=True))


class _PartReader:
    """Reads the columns of one part after another; may be used by several threads.

    Attributes:
        runs, labels, reasons: numbers of the texts read so far.
    """

    def __init__(self, reviewed: Collection[str]) -> None:
        self.runs, self.labels, self.reasons = _Numbers(), _Numbers(), _Numbers()
        self._outcomes, self._failed = _Numbers(OUTCOMES), _Numbers(["failed"])
        self._reviewed = pa.array(list(reviewed), pa.string())

    def read(self, part: Location) -> _PartColumns:
        """Read the columns of one part."""
        names = [*_SMALL, "content_hash"] if len(self._reviewed) else _SMALL
        table = concatenate_parts([read_part(part, names)], names)
        is_failed = self._failed.number(table["status"]) == 0
        is_reviewed = np.zeros(len(table), bool)
        if len(self._reviewed):
            is_reviewed = pc.is_in(table["content_hash"], self._reviewed).to_numpy()
        failed_row = np.flatnonzero(is_failed)
        return _PartColumns(
            hash_paths(table["path"]),
            self.runs.number(table["run_id"]),
            self.labels.number(table["label"]),
            pc.fill_null(table["score"], np.nan).to_numpy(),
            self._outcomes.number(table["decision"]).astype(np.int8),
            is_failed,
            is_reviewed,
            failed_row,
            *self._read_failed(part, failed_row),
        )

    def _read_failed(self, part: Location, rows: Integers) -> tuple[Integers, Integers, Mask]:
        if not len(rows):
            return np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, bool)
        failed = read_part_rows(part, _OF_FAILED, rows)
        reason = self.reasons.number(failed["error"])
        return reason, failed["processed_at"].cast(pa.int64()).to_numpy(), failed["content_hash"].is_valid().to_numpy()


def read_table_columns(parts: Sequence[Location], reviewed: Collection[str] = ()) -> TableColumns:
    """Read the small columns of all parts, several at a time.

    Args:
        parts: of one table, in the order of their commit; parts without rows are fine.
        reviewed: content hashes of photos with reviews.

    Raises:
        FileNotFoundError: a part is gone; a compaction has put its rows into other parts.
        StoreError: a part is damaged.
    """
    reader = _PartReader(reviewed)
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


def _join_parts(parts: Iterable[_PartColumns]) -> tuple[dict[str, Any], dict[str, Any], list[int]]:
    """Join the columns of parts: those of all rows, those of failed rows; and the number of rows of each part."""
    lengths: list[int] = []
    pieces: dict[str, list[Any]] = {name: [np.empty(0, dtype)] for name, dtype in _TYPES.items()}
    for part in parts:
        for name, values in part._asdict().items():
            pieces[name].append(values + sum(lengths) if name == "row" else values)
        lengths.append(len(part.path_hash))
    joined = {name: np.concatenate(pieces.pop(name)) for name in _TYPES}
    return {name: joined.pop(name) for name in _OF_ROWS}, joined, lengths
