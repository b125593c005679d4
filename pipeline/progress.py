"""How far a run is, for a person at a terminal or for a log; and where its time goes."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

from tqdm import tqdm

T = TypeVar("T")

log = logging.getLogger(__name__)

_LOG_SECONDS = 30


class Progress:
    """A bar on a terminal, a log line every 30 s elsewhere: images/s, failed so far, time left."""

    def __init__(self, total: int) -> None:
        """Args: how many files there are to process."""
        self._bar: tqdm[None] = tqdm(total=total, unit="img", disable=not sys.stderr.isatty(), dynamic_ncols=True)
        self._total = total
        self._done = self._failed = 0
        self._started = self._logged = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, ok: int, failed: int) -> None:
        """So many more files are through."""
        self._done += ok + failed
        self._failed += failed
        self._bar.set_postfix(failed=self._failed, refresh=False)
        self._bar.update(ok + failed)
        now = time.monotonic()
        if self._bar.disable and now - self._logged >= _LOG_SECONDS:
            self._logged = now
            rate = self._done / (now - self._started)
            left = tqdm.format_interval((self._total - self._done) / rate)
            log.info("%d of %d, %.1f img/s, failed %d, %s left", self._done, self._total, rate, self._failed, left)


class Stopwatch:
    """Seconds by stage of the main loop."""

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

    def over(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Count the waiting for each item as time of a stage."""
        iterator = iter(items)
        while True:
            with self(stage):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def total(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def by_stage(self) -> dict[str, float]:
        """Seconds of each stage so far."""
        return {stage: round(seconds, 3) for stage, seconds in self._seconds.items()}
