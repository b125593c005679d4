"""Rows -> parts of the table, in a bounded buffer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

from pipeline.results.folder import ResultsFolder
from pipeline.results.schema import Row, to_table


class TableWriter:
    """Gathers rows and commits them as parts, at a number of rows or after some seconds; the last one on leaving."""

    def __init__(self, results: ResultsFolder, *, rows: int, seconds: float, before_commit: Callable[[], None]) -> None:
        """Start with an empty part.

        Args:
            results: destination of the parts.
            rows: commit a part of at least this many rows,
            seconds: or after this time, at the next batch.
            before_commit: called first, to put files in place before the rows with their names.
        """
        import pandas  # noqa: F401 - pyarrow imports it for the first part: half a second of waiting for the device

        self._results = results
        self._most_rows = rows
        self._most_seconds = seconds
        self._before_commit = before_commit
        self._rows: list[Row] = []
        self._opened = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or kind is KeyboardInterrupt:
            self.commit()

    def add(self, rows: Sequence[Row]) -> None:
        """Add the rows of one batch."""
        if not self._rows:
            self._opened = time.monotonic()
        self._rows += rows
        if len(self._rows) >= self._most_rows or time.monotonic() - self._opened >= self._most_seconds:
            self.commit()

    def commit(self) -> None:
        """Commit the gathered rows."""
        if self._rows:
            self._before_commit()
            if renamed := self._results.take_renamed_pictures():
                self._rows = [
                    replace(row, overlay=renamed[row.overlay]) if row.overlay in renamed else row for row in self._rows
                ]
            self._results.write_part(to_table(self._rows))
            self._rows = []
