"""A function called in a few threads, for reading: pyarrow releases the interpreter lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pipeline.cores import available_cores

_AHEAD = 2  # items begun before their results are wanted, for each thread
_MOST_THREADS = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], *, waits: bool) -> Iterator[Result]:
    """Call a function with each item in a few threads; yield the results in order, without running far ahead.

    Args:
        function: may be called in several threads at once.
        items: its arguments.
        waits: the function mostly waits for another machine, so there are more threads than cores.
    """
    threads = _MOST_THREADS if waits else min(available_cores(), _MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[Result]] = deque()
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > _AHEAD * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
