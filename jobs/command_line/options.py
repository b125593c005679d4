"""Settings -> command-line options: one option for each field, so the two can't disagree.

Values reach the settings as they were typed; these check them all and report every error at once.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from pipeline.config import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(settings: type[Settings], *, argument: str) -> Callable[[Command], Command]:
    """A decorator that gives a click command one positional argument and an option for every other field.

    Only what was given on the command line is passed on; the defaults stay with the settings.
    """

    def decorate(command: Command) -> Command:
        for name, field in reversed(settings.model_fields.items()):
            if name != argument:
                command = _option(name, field)(command)
        return click.argument(argument, metavar=argument.upper())(command)

    return decorate


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    flag = "--" + name.replace("_", "-")
    if field.annotation is bool:
        flags = f"{flag}/--no-{flag[2:]}" if field.default else flag
        default = f"  [default: {flag}]" if field.default else ""
        return click.option(flags, name, is_flag=True, default=None, help=f"{field.description}{default}")
    if field.is_required():
        return click.option(flag, name, required=True, metavar=_metavar(field), help=field.description)
    text = f"{field.description}  [default: {shown_default(field)}]"
    several = get_args(field.annotation)[-1:] == (...,)  # such an option may be given more than once
    return click.option(flag, name, default=None, multiple=several, metavar=_metavar(field), help=text)


def shown_default(field: FieldInfo) -> str:
    """A default as help shows it, and as it may be given."""
    extra = field.json_schema_extra
    if field.default in (None, ()) and isinstance(extra, dict):
        return str(extra["none"])  # the word that stands for None in this field
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return "none" if field.default is None else str(field.default) or "empty"


def _metavar(field: FieldInfo) -> str:
    types = get_args(field.annotation) or (field.annotation,)
    one = types[0] if types[-1] is ... else field.annotation
    if get_origin(one) is Literal:
        return "[" + "|".join(get_args(one)) + "]"
    if int in types or tuple[int, int] in types:
        return "N"
    return "X" if float in types else "TEXT"
