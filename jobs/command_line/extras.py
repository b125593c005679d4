"""Optional dependencies, checked before the first import from them."""

from importlib.util import find_spec

from pipeline.errors import ConfigError


def require_extra(extra: str, *modules: str) -> None:
    """Check that the modules of an extra are installed.

    Args:
        extra: its name in pyproject.toml.
        modules: names of the needed modules.

    Raises:
        ConfigError: a module is missing; the message names the extra to install.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} is missing; install it with: pip install 'vitrollout[{extra}]'")
