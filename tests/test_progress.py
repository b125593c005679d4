"""Progress on a terminal and in a log; seconds by stage."""

import logging
import os
import pty
import sys
import termios
from contextlib import suppress

import pytest

from pipeline import progress
from pipeline.progress import Progress, Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns on by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def turn(seconds):
        now[0] += seconds

    return turn


def test_log_line_every_half_minute_where_there_is_no_terminal(clock, caplog):
    caplog.set_level(logging.INFO)
    with Progress(1000) as shown:
        for _ in range(5):
            clock(10)
            shown.advance(ok=39, failed=1)
    (line,) = caplog.messages
    assert line == "120 of 1000, 4.0 img/s, failed 3, 03:40 left"


@pytest.mark.parametrize(
    ("seconds", "photos", "rate"), [(36, 2, "18.0 s/img"), (40, 40, "1.0 img/s"), (30, 28, "1.1 s/img")]
)
def test_slow_work_is_shown_in_seconds(clock, caplog, seconds, photos, rate):
    caplog.set_level(logging.INFO)
    with Progress(1000) as shown:
        clock(seconds)
        shown.advance(ok=photos)
    assert caplog.messages[0].startswith(f"{photos} of 1000, {rate}, failed 0, ")


def test_bar_on_a_terminal(monkeypatch, caplog):
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with Progress(8) as shown:
            shown.advance(ok=3, failed=2)
            shown.advance(ok=3, failed=0)
    said = b""
    with suppress(OSError):  # a terminal that nobody has open any more: all was read
        while more := os.read(ours, 10_000):
            said += more
    os.close(ours)
    said = said.decode()
    assert "8/8" in said
    assert "img/s" in said
    assert "failed=2" in said
    assert not caplog.messages


def test_stopwatch_counts_each_stage(clock):
    watch = Stopwatch()
    for _ in watch.over("photos", iter([1, 2])):
        clock(1)
        with watch("model"):
            clock(5)
    assert watch.by_stage() == {"photos": 0.0, "model": 10.0}
    assert watch.total() == 12.0
