"""Rows -> parts of the table, in a bounded buffer."""

import time
from collections.abc import Callable, Sequence
from typing import Self

from pipeline.results.schema import Row, to_table
from pipeline.results.folder import ResultsFolder


class TableWriter:
    """Gathers rows and commits them as parts, every so many rows or seconds; the last one on leaving."""

    def __init__(self, results: ResultsFolder, *, rows: int, seconds: float, before_commit: Callable[[], None]) -> None:
        """Args: where parts go, when one is due, and what must be in place before its rows are."""
        import pandas  # noqa: F401 - pyarrow does so for the first part, half a second in which the device would wait

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
        """Take the rows of one batch."""
        if not self._rows:
            self._opened = time.monotonic()
        self._rows += rows
        if len(self._rows) >= self._most_rows or time.monotonic() - self._opened >= self._most_seconds:
            self.commit()

    def commit(self) -> None:
        """Commit what has been gathered."""
        if self._rows:
            self._before_commit()
            self._results.write_part(to_table(self._rows))
            self._rows = []
