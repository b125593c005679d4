"""Optional dependencies: whether an extra is installed, asked before anything of it is imported."""

from importlib.util import find_spec

from pipeline.errors import ConfigError


def require_extra(extra: str, *modules: str) -> None:
    """Make sure that the modules of an extra are there.

    Raises:
        ConfigError: one is missing; it names the extra to install.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} is missing; install it with: pip install 'vitrollout[{extra}]'")
