"""Commands called with settings: `pipeline.run(input="photos", out="results")`.

`run`, `explain`, `export` and `trust` are also the names of a module and of three packages. Importing these sets them
as attributes of `pipeline`, in place of any function of that name. So the modules themselves can be called: see
`make_callable`.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


def call_command(
    function: str, settings: str, config: Any = None, /, *, stop: Callable[[], bool] | None = None, **values: Any
) -> Any:
    """Call a command with its settings.

    Args:
        function: the command, as `module:name`; imported here.
        settings: its class of settings, as `module:name`.
        config: an object of this class, or
        values: its fields as keyword arguments.
        stop: asked again and again; once true, the command ends early.

    Raises:
        ConfigError: settings are wrong; names all of them.
        VitrolloutError: see the command.
    """
    if config is None:
        config = import_name(settings)(**values)
    elif values:
        raise TypeError("give either an object of settings or keyword arguments, not both")
    command = import_name(function)
    return command(config) if stop is None else command(config, stop=stop)


def import_name(name: str) -> Any:
    """Import `module:name`."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


class _CallableModule(ModuleType):
    command: tuple[str, str]  # function and settings

    def __call__(self, *arguments: Any, **values: Any) -> Any:
        """Call the command of this name, see `call_command`."""
        return call_command(*self.command, *arguments, **values)


def make_callable(module: str, function: str, settings: str) -> None:
    """Let calls of a module call a command; function and settings as of `call_command`."""
    called: Any = sys.modules[module]
    called.__class__ = _CallableModule
    called.command = (function, settings)
