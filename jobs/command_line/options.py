"""Settings -> command-line options: one option for each field, so the two can't disagree.

Values reach the settings as typed. The settings check all of them and report all errors at once.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from pipeline.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


def settings_options(settings: type[Settings], *, argument: str) -> Callable[[Function], Function]:
    """Give a command a positional argument, and an option for every other field of its settings.

    The command receives None, or () for a repeatable option, in place of options not given: see `given_options`.

    Args:
        settings: the class of the settings. Help lists `--out` and `--model` first, then the fields of this class
            itself, then the inherited ones.
        argument: name of the field to give by position.
    """
    options = {name: field for name, field in settings.model_fields.items() if name != argument}
    names = sorted(options, key=lambda name: (name != "out", name != "model", name not in settings.__annotations__))

    def add_options(function: Function) -> Function:
        for name in reversed(names):  # the decorator of the last option is applied first
            function = _make_option(name, options[name])(function)
        return click.argument(argument, metavar=argument.upper())(function)

    return add_options


def given_options(values: dict[str, Any]) -> dict[str, Any]:
    """Select the options given on the command line; all others keep the defaults of the settings."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def shown_default(field: FieldInfo) -> str:
    """Format a default for help, as the user could type it."""
    if field.default in (None, ()):
        extra = field.json_schema_extra
        return str(extra.get("none", "none")) if isinstance(extra, dict) else "none"  # the field's word for None
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return str(field.default) or "empty"


def _make_option(name: str, field: FieldInfo) -> Callable[[Function], Function]:
    flag = "--" + name.replace("_", "-")
    if field.annotation is bool:
        flags = f"{flag}/--no-{flag[2:]}" if field.default else flag
        default = f"  [default: {flag}]" if field.default else ""
        return click.option(flags, name, is_flag=True, default=None, help=f"{field.description}{default}")
    if field.is_required():
        return click.option(flag, name, required=True, metavar=_choose_metavar(field), help=field.description)
    text = f"{field.description}  [default: {shown_default(field)}]"
    repeatable = get_args(field.annotation)[-1:] == (...,)
    return click.option(flag, name, default=None, multiple=repeatable, metavar=_choose_metavar(field), help=text)


def _choose_metavar(field: FieldInfo) -> str:
    types = get_args(field.annotation) or (field.annotation,)
    value_type = types[0] if types[-1] is ... else field.annotation
    if get_origin(value_type) is Literal:
        return "[" + "|".join(get_args(value_type)) + "]"
    if int in types or tuple[int, int] in types:
        return "N"
    return "X" if float in types else "TEXT"
