"""The log: text for a person, JSON lines for a machine; always on stderr."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def set_up_log(log_format: str = "text") -> None:
    """Send the library's log to stderr.

    Args:
        log_format: `text` or `json`.
    """
    handler = logging.StreamHandler()
    if log_format == "json":
        from pythonjsonlogger.json import JsonFormatter

        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        fields, time = "%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"
        handler.setFormatter(JsonFormatter(fields, datefmt=time, rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("httpx", "httpx2", "filelock", "PIL", "matplotlib", "torch"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log_format_option(function: Function) -> Function:
    """Add the option `--log-format`; it takes effect before the command begins."""

    def change_format(_: click.Context, __: click.Parameter, value: str) -> None:
        if value != "text":  # text is already set up by the group
            set_up_log(value)

    return click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        expose_value=False,
        is_eager=True,
        callback=change_format,
        help="format of the log on stderr; json: one object per line, with the photo's path in warnings",
    )(function)
