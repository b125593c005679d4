"""The current rows of a table as arrays, found by path: what decides whether a file is done, in some 40 bytes a row."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.current_rows import Hashes, find_newest, hash_paths, number_texts, rank_texts
from pipeline.results.names import part_files
from pipeline.results.parts import read_part
from pipeline.storage.location import Location

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

# Of `DoneIndex.states`; other values are numbers of errors.
OK, SETTLED = -1, -2

_COLUMNS = ("path", "file_bytes", "mtime", "content_hash", "status", "error", "fingerprint", "run_id")


class DoneIndex:
    """The rows of a table by number, in the order of its parts; `find` knows the current ones.

    Attributes:
        parts: of the table.
        file_bytes, mtime_ns: of the file, by row.
        fingerprints: numbers of texts in `fingerprint_texts`, by row.
        states: by row: OK, SETTLED (failed, and the file's bytes are the reason), or the number of an error in
            `error_texts` (failed, and nothing is known of the bytes: they were out of reach, or never judged).
        fingerprint_texts, error_texts: numbers by text.
    """

    def __init__(self, parts: Sequence[Location]) -> None:
        """Read the table.

        Args:
            parts: of the table, in the order of their commit.

        Raises:
            FileNotFoundError: a part is gone; a compaction has put its rows into other parts.
            StoreError: a part is damaged.
        """
        self.parts = parts
        self.fingerprint_texts: dict[str, int] = {}
        self.error_texts: dict[str, int] = {}
        run_ids: dict[str, int] = {}
        columns: dict[str, list[Any]] = {
            name: [] for name in ("hash", "run", "file_bytes", "mtime_ns", "fingerprint", "state")
        }
        for part in parts:
            table = read_part(part, _COLUMNS)
            columns["hash"].append(hash_paths(table["path"]))
            columns["run"].append(number_texts(table["run_id"], run_ids))
            columns["file_bytes"].append(to_ints(table["file_bytes"]))
            columns["mtime_ns"].append(to_ints(table["mtime"]))
            columns["fingerprint"].append(number_texts(table["fingerprint"], self.fingerprint_texts))
            columns["state"].append(self._read_states(table))
        self._ends = np.cumsum([len(hashes) for hashes in columns["hash"]], dtype=np.int64)
        self.file_bytes: Ints = _join(columns.pop("file_bytes"), np.int64)
        self.mtime_ns: Ints = _join(columns.pop("mtime_ns"), np.int64)
        self.fingerprints: Numbers = _join(columns.pop("fingerprint"), np.int32)
        self.states: Numbers = _join(columns.pop("state"), np.int32)
        runs, hashes = _join(columns.pop("run"), np.int32), _join(columns.pop("hash"), np.uint64)
        rows = np.flatnonzero(find_newest(hashes, runs, rank_texts(run_ids))).astype(np.uint32)
        hashes = hashes[rows]
        order = np.argsort(hashes)
        self._hashes, self._rows = hashes[order], rows[order]

    def __len__(self) -> int:
        """Return the number of rows, also of replaced ones."""
        return len(self.states)

    def find(self, hashes: Hashes) -> Ints:
        """Return the number of the current row of each path, -1 without one; see `hash_paths`."""
        found = np.full(len(hashes), -1, np.int64)
        if len(self._hashes):
            order = np.argsort(hashes)  # neighbours are looked up in memory near each other
            places = np.searchsorted(self._hashes, hashes[order])
            places[places == len(self._hashes)] = 0
            is_known = self._hashes[places] == hashes[order]
            found[order[is_known]] = self._rows[places[is_known]]
        return found

    def current_rows(self) -> Ints:
        """Return the numbers of all current rows, ascending."""
        return np.sort(self._rows).astype(np.int64)

    def split_by_part(self, rows: Ints) -> Iterator[tuple[Location, slice, Ints]]:
        """Split ascending row numbers by part: yield the part, the slice of `rows`, and its rows within the part."""
        starts = np.searchsorted(rows, np.concatenate([np.zeros(1, np.int64), self._ends]))
        for number, part in enumerate(self.parts):
            place = slice(int(starts[number]), int(starts[number + 1]))
            if place.start < place.stop:
                yield part, place, rows[place] - (self._ends[number - 1] if number else 0)

    def read_rows(self, rows: Ints, columns: Sequence[str]) -> Iterator[tuple[slice, pa.Table]]:
        """Read columns of rows part by part; yields slices of `rows`, which must ascend. Raises as the constructor."""
        for part, place, rows_of_part in self.split_by_part(rows):
            yield place, read_part(part, columns).take(to_arrow(rows_of_part))

    def _read_states(self, table: pa.Table) -> Numbers:
        is_failed = number_texts(table["status"], {"ok": 0, "failed": 1}) == 1
        states = np.where(is_failed, SETTLED, OK).astype(np.int32)
        is_hashed = to_ints(pc.is_valid(table["content_hash"])) == 1
        unsettled = np.flatnonzero(is_failed & ~is_hashed)
        if len(unsettled):
            errors = table["error"].take(to_arrow(unsettled))
            states[unsettled] = number_texts(pc.fill_null(errors, ""), self.error_texts)
        return states


def read_done_index(out: Location) -> DoneIndex:
    """Read the current rows of a results folder; raises StoreError for a damaged part."""
    while True:
        try:
            return DoneIndex(part_files(out))
        except FileNotFoundError:
            continue  # compacted meanwhile; the new parts have the rows


def to_ints(column: pa.ChunkedArray) -> Ints:
    """Return a column without nulls as an array; no to_numpy: that imports pandas, half a second of a short run."""
    return np.asarray(np.from_dlpack(column.cast(pa.int64()).combine_chunks()), np.int64)


def to_arrow(values: Ints) -> pa.Array:
    """Return an array of numbers for Arrow, without the import of pandas by pa.array."""
    values = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def _join(arrays: list[Any], kind: type[np.generic]) -> Any:
    joined = np.concatenate(arrays) if arrays else np.empty(0, kind)
    arrays.clear()
    return joined
