"""Ctrl-C and a scheduler's SIGTERM: finish the batch, commit, leave."""

import logging
import signal
from types import FrameType
from typing import Any, Self

log = logging.getLogger(__name__)


class Interruption:
    """Catches the first SIGINT or SIGTERM and remembers it; a second one ends the process at once."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self) -> bool:
        """Whether a signal came."""
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, 0 for none."""
        return 128 + self._signal if self._signal is not None else 0

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._signal = number
        for caught in self._before:
            signal.signal(caught, signal.SIG_DFL)
        log.warning("%s: committing what is done; once more to leave at once", signal.Signals(number).name)
