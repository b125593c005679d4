"""How far a command is, at a terminal or in a log; and the time spent in each stage."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

log = logging.getLogger(__name__)

_LOG_SECONDS = 30


class Progress:
    """A bar on a terminal, a log line every 30 s elsewhere: rate, failures or other figures, time left."""

    def __init__(self, total: int, *, unit: str = "img", title: str = "", initial: int = 0) -> None:
        """Start the clock.

        Args:
            total: number of units to process.
            unit: name of one, short.
            title: shown in front of the figures; none by default.
            initial: units done by an earlier session.
        """
        self._bar: tqdm[None] = tqdm(
            total=total, initial=initial, unit=unit, desc=title or None, disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )  # fmt: skip
        self._total, self._unit, self._title = total, unit, title
        self._initial = self._done = initial
        self._failed = 0
        self._started = self._logged = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, ok: int, failed: int = 0, **figures: str) -> None:
        """Count more units as done.

        Args:
            ok: units done.
            failed: units failed.
            figures: further figures to show, by name.
        """
        self._done += ok + failed
        self._failed += failed
        shown: dict[str, object] = {**figures} if figures else {"failed": self._failed}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(ok + failed)
        now = time.monotonic()
        if self._bar.disable and now - self._logged >= _LOG_SECONDS:
            self._logged = now
            rate = (self._done - self._initial) / (now - self._started)
            left = tqdm.format_interval((self._total - self._done) / rate)
            title = f"{self._title}: " if self._title else ""
            listed = ", ".join(f"{name} {figure}" for name, figure in shown.items())
            log.info(
                "%s%d of %d, %s, %s, %s left", title, self._done, self._total, self._format_rate(rate), listed, left
            )

    def _format_rate(self, rate: float) -> str:
        """Format units a second, or seconds a unit where that is the larger number."""
        return f"{rate:.1f} {self._unit}/s" if rate >= 1 else f"{1 / rate:.1f} s/{self._unit}"

    def write(self, line: str) -> None:
        """Show a line above the bar, or log it."""
        if self._bar.disable:
            log.info("%s", line)
        else:
            self._bar.write(line, file=sys.stderr)


class Stopwatch:
    """Seconds spent in each stage of the main loop."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the block as time of a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - started

    def over(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Count the wait for each item as time of a stage."""
        iterator = iter(items)
        while True:
            with self(stage):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def total(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def by_stage(self) -> dict[str, float]:
        """Return the seconds of each stage so far."""
        return {stage: round(seconds, 3) for stage, seconds in self._seconds.items()}
