"""The small columns of one part of a table."""

from collections.abc import Collection, Iterable
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decision import OUTCOMES
from pipeline.records import Floats
from pipeline.results.current_rows import Hashes, hash_paths
from pipeline.results.parts import concatenate_parts, read_part, read_part_rows
from pipeline.storage.location import Location

Integers = npt.NDArray[np.signedinteger[Any]]
Mask = npt.NDArray[np.bool_]

_SMALL = ["path", "run_id", "status", "label", "score", "decision", "unfamiliar"]
_OF_FAILED = ["error", "processed_at", "content_hash"]


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


class PartColumns(NamedTuple):
    """The columns of one part; the last four have its failed rows only."""

    path_hash: Hashes
    run: Integers
    label: Integers
    score: Floats
    decision: Integers
    unfamiliar: Floats
    is_failed: Mask
    is_reviewed: Mask
    row: Integers
    reason: Integers
    processed_at: Integers
    is_broken: Mask


COLUMN_TYPES = dict(
    zip(PartColumns._fields, ("u8", "i4", "i4", "f4", "i1", "f4", "?", "?", "i8", "i4", "i8", "?"), strict=True)
)


class PartReader:
    """Reads the columns of one part after another; may be used by several threads.

    Attributes:
        runs, labels, reasons: numbers of the texts read so far.
    """

    def __init__(self, reviewed: Collection[str]) -> None:
        self.runs, self.labels, self.reasons = _Numbers(), _Numbers(), _Numbers()
        self._outcomes, self._failed = _Numbers(OUTCOMES), _Numbers(["failed"])
        self._reviewed = pa.array(list(reviewed), pa.string())

    def read(self, part: Location) -> PartColumns:
        """Read the columns of one part."""
        names = [*_SMALL, "content_hash"] if len(self._reviewed) else _SMALL
        table = concatenate_parts([read_part(part, names)], names)
        is_failed = self._failed.number(table["status"]) == 0
        is_reviewed = np.zeros(len(table), bool)
        if len(self._reviewed):
            is_reviewed = pc.is_in(table["content_hash"], self._reviewed).to_numpy()
        failed_row = np.flatnonzero(is_failed)
        return PartColumns(
            hash_paths(table["path"]),
            self.runs.number(table["run_id"]),
            self.labels.number(table["label"]),
            pc.fill_null(table["score"], np.nan).to_numpy(),
            self._outcomes.number(table["decision"]).astype(np.int8),
            pc.fill_null(table["unfamiliar"], np.nan).to_numpy(),
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
