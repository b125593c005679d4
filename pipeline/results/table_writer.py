"""Rows -> the part of their shard."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline.results.files import ResultsFiles
from pipeline.results.schema import Row, to_table
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
        self._rows: list[Row] = []
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
        return len(self._rows)

    def open_part(self, number: int) -> None:
        """Begin the part of this number; rows gathered before, and not committed, are dropped."""
        self._number, self._rows, self._windows, self._opened = number, [], [], time.monotonic()

    def add(self, rows: Sequence[Row], windows: Sequence[Window] = ()) -> None:
        """Add the rows of one batch, and those of its windows."""
        self._rows += rows
        self._windows += windows

    def commit(self, metadata: Mapping[str, str]) -> bool:
        """Commit the gathered rows; return False where another worker has done this part."""
        self._before_commit()
        if renamed := self._files.take_renamed_pictures():
            self._rows = [
                replace(row, overlay=renamed[row.overlay]) if row.overlay in renamed else row for row in self._rows
            ]
        rows, self._rows = self._rows, []
        windows, self._windows = self._windows, []
        if windows:
            self._files.write_windows(self._number, encode_windows(windows))
        return self._files.create_part(self._number, to_table(rows), metadata)
