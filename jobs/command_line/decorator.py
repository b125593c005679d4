"""The decorator of every command."""

import re
from collections.abc import Callable
from typing import Any

import click


def command(module_docstring: str) -> Callable[[Callable[..., Any]], click.Command]:
    r"""Turn a function into a command, with the docstring of its module as help.

    Example commands in the docstring keep their lines: click wraps no paragraph after a line with `\b` alone.
    """
    return click.command(help=re.sub(r"\n\n(?=vitrollout |python )", "\n\n\b\n", module_docstring))
