"""A function called in a few threads, for reading: pyarrow releases the interpreter lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pipeline.cores import available_cores

_AHEAD = 2  # items begun before their results are wanted, for each thread
_MOST_THREADS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call a function with each item in a few threads; yield the results in order, without running far ahead."""
    threads = min(available_cores(), _MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[Result]] = deque()
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > _AHEAD * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
