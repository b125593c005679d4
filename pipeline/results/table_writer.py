"""Rows -> the part of their shard."""

import time
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from pipeline.results.files import ResultsFiles
from pipeline.results.schema import SCHEMA, set_columns
from pipeline.results.windows import Window, encode_windows


class TableWriter:
    """Gathers the rows of one shard after another, and commits them as parts."""

    def __init__(self, files: ResultsFiles, *, before_commit: Callable[[], None]) -> None:
        """Start without a part.

        Args:
            files: of the run.
            before_commit: called first, to put files in place before the rows with their names.
        """
        import pandas  # noqa: F401 - pyarrow imports it for the first part: half a second of waiting for the device

        self._files = files
        self._before_commit = before_commit
        self._batches: list[pa.Table] = []
        self._windows: list[Window] = []
        self._number = 0
        self._opened = time.monotonic()

    @property
    def number(self) -> int:
        """The number of the open part."""
        return self._number

    @property
    def seconds_open(self) -> float:
        """The seconds since the open part was opened."""
        return time.monotonic() - self._opened

    @property
    def rows(self) -> int:
        """Rows in the open part."""
        return sum(map(len, self._batches))

    def open_part(self, number: int) -> None:
        """Begin the part of this number; rows gathered before, and not committed, are dropped."""
        self._number, self._batches, self._windows, self._opened = number, [], [], time.monotonic()

    def add(self, rows: pa.Table, windows: Sequence[Window] = ()) -> None:
        """Add the rows of one batch, and those of its windows."""
        self._batches.append(rows)
        self._windows += windows

    def gather(self) -> pa.Table:
        """Return the rows of the open part in one table."""
        rows = pa.concat_tables(self._batches or [SCHEMA.empty_table()]).unify_dictionaries().combine_chunks()
        self._batches = [rows]
        return rows

    def commit(self, metadata: Mapping[str, str]) -> bool:
        """Commit the gathered rows; return False where another worker has done this part."""
        self._before_commit()
        rows = self.gather()
        if renamed := self._files.take_renamed_pictures():
            rows = set_columns(rows, overlay=[renamed.get(name, name) for name in rows["overlay"].to_pylist()])
        self._batches = []
        windows, self._windows = self._windows, []
        if windows:
            self._files.write_windows(self._number, encode_windows(windows))
        return self._files.create_part(self._number, rows, metadata)
