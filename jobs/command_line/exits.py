"""The end of a command: exit codes, and errors in one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from jobs.command_line.interruption import Interruption
from pipeline.errors import StoppedError, VitrolloutError

SOME_PHOTOS_FAILED = 3


@contextmanager
def exit_on_error(program: str) -> Iterator[None]:
    """Turn an error with a remedy into one line on stderr and its exit code, without a traceback.

    Args:
        program: the program's name, for the start of the line.
    """
    try:
        yield
    except VitrolloutError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, for example: a fault of the machine
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def exit_if_stopped() -> Iterator[Interruption]:
    """Catch SIGINT and SIGTERM during long work; if it stops early, print its message and exit.

    The exit code is that of the signal. Work with a useful partial result ends normally instead.
    """
    with Interruption() as interruption:
        try:
            yield interruption
        except StoppedError as stopped:
            click.echo(f"{click.get_current_context().command_path}: {stopped}", err=True)
            sys.exit(interruption.exit_code)
