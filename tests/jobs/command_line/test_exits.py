"""Errors in one line, and exit codes."""

import os
import signal

import click
import pytest
from click.testing import CliRunner

from jobs.command_line.exits import exit_if_stopped, exit_on_error
from pipeline.errors import DataError, FolderBusyError, StoppedError, VitrolloutError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (VitrolloutError("a fault; do this"), 1),
        (DataError("no photos; do this"), 2),
        (FolderBusyError("held; wait"), 75),
        (OSError(28, "No space left on device"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_error_with_a_remedy_is_one_line_and_its_exit_code(error, code, capsys):
    with pytest.raises(SystemExit) as caught, exit_on_error("program"):
        raise error
    assert caught.value.code == code
    assert capsys.readouterr() == ("", f"program: {error}\n")


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_other_exceptions_pass(error):
    with pytest.raises(type(error)), exit_on_error("program"):
        raise error


@click.group()
def vitrollout():
    pass


@vitrollout.command()
@click.option("--raises", is_flag=True)
def measure(raises):
    with exit_if_stopped() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested()
        if raises:
            raise StoppedError("stopped; nothing was written")
    click.echo(f"a partial result, {interruption.exit_code}")


def test_stopped_work_ends_with_its_message_and_the_exit_code_of_the_signal():
    done = CliRunner().invoke(vitrollout, ["measure", "--raises"])
    assert (done.exit_code, done.stdout) == (143, "")
    assert done.stderr == "vitrollout measure: stopped; nothing was written\n"


def test_work_with_a_partial_result_goes_on():
    done = CliRunner().invoke(vitrollout, ["measure"])
    assert (done.exit_code, done.stdout) == (0, "a partial result, 143\n")
