"""Things timed in turn, so that a busy machine is unfair to all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the result.

    Attributes:
        question: what was measured.
        value: the figure; a ratio unless `unit` says otherwise.
        bar: what it may be at most (`at_most`) or must be at least.
        detail: what it is made of, in numbers.
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
        """Median seconds of one variant."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, base: str) -> float:
        """Median over the rounds of one variant's time over another's of the same round."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return statistics.median(one / other for one, other in pairs)

    def describe(self) -> str:
        """The medians, for the detail of a figure."""
        return ", ".join(f"{name} {1000 * self.median(name):,.1f} ms" for name in self.seconds)


def in_turn(
    variants: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> Timings:
    """Time variants A B A B ..., after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, variant in variants.items():
            started = clock()
            variant()
            if number:
                seconds[name].append(clock() - started)
    return Timings(seconds)
