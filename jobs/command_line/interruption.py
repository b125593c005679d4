"""Ctrl-C and a scheduler's SIGTERM: finish the batch, commit, leave."""

import logging
import signal
from types import FrameType
from typing import Any, Self

log = logging.getLogger(__name__)


class Interruption:
    """Catches and remembers the first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self, answer: str = "finishing the current batch") -> None:
        """Catch nothing before entering.

        Args:
            answer: what happens at the first signal, for the log.
        """
        self._answer = answer
        self._signal: int | None = None
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous_handlers[number] = signal.signal(number, self._remember_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def requested(self) -> bool:
        """Tell whether a signal has arrived."""
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, 0 for none."""
        return 128 + self._signal if self._signal is not None else 0

    def _remember_signal(self, number: int, _: FrameType | None) -> None:
        self._signal = number
        for caught in self._previous_handlers:
            signal.signal(caught, signal.SIG_DFL)
        log.warning("%s: %s; press Ctrl-C again to quit now", signal.Signals(number).name, self._answer)
