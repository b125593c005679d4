"""Signals: the first is remembered, the handlers of before come back."""

import logging
import os
import signal

import pytest

from jobs.command_line.interruption import Interruption


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_first_signal_is_remembered_and_the_second_one_ends_the_process(number, code, caplog):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert (interruption.requested(), interruption.exit_code) == (False, 0)
        with caplog.at_level(logging.WARNING):
            os.kill(os.getpid(), number)
        assert (interruption.requested(), interruption.exit_code) == (True, code)
        assert caplog.messages == [f"{number.name}: finishing the current batch; press Ctrl-C again to quit now"]
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before
