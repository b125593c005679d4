"""Timing in turn, so that other work of the machine slows all variants alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the result.

    Attributes:
        question: the measured quantity.
        value: the figure; a ratio if `unit` is empty.
        bar: its upper limit, or its lower limit without `at_most`.
        unit: of value and bar.
        at_most: whether the bar is an upper limit.
        detail: the numbers behind the figure.
    """

    question: str
    value: float
    bar: float
    unit: str = ""
    at_most: bool = True
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure keeps its bar."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar


@dataclass(frozen=True)
class Timings:
    """Seconds of each variant, round by round."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median seconds of one variant."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, base: str) -> float:
        """Return the median ratio of two variants' times, both of the same round."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return statistics.median(seconds / base_seconds for seconds, base_seconds in pairs)

    def format_medians(self) -> str:
        """Format the medians, for the detail of a figure."""
        return ", ".join(f"{name} {1000 * self.median(name):,.1f} ms" for name in self.seconds)


def time_in_turn(
    variants: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> Timings:
    """Time variants A B A B ..., after an uncounted round.

    Args:
        variants: functions to time, by name.
        rounds: number of counted rounds.
        clock: returns seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_number in range(rounds + 1):
        for name, variant in variants.items():
            started = clock()
            variant()
            if round_number:
                seconds[name].append(clock() - started)
    return Timings(seconds)
