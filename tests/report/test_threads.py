"""A function called in a few threads."""

import threading

import pytest

from pipeline.report.threads import map_in_threads


@pytest.mark.parametrize("waits", [False, True])
def test_threads_keep_the_order_and_do_not_run_ahead(waits):
    begun = []
    results = map_in_threads(lambda number: begun.append(number) or number * 2, range(1000), waits=waits)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(begun) < 100
    assert list(results) == [number * 2 for number in range(3, 1000)]
    assert threading.active_count() < 50


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda number: 1 // number, [1, 0], waits=False))
