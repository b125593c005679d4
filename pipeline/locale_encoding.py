"""The encoding of file names, set by the locale; a wrong one renames photos without a word."""

import sys

from pipeline.errors import ConfigError


def check_name_encoding() -> None:
    """Check that Python reads and writes file names as UTF-8.

    Raises:
        ConfigError: it uses another encoding; names the variable to set.
    """
    encoding = sys.getfilesystemencoding()
    if encoding.replace("-", "").lower() != "utf8":
        raise ConfigError(
            f"file names are {encoding} in this locale, and overlays of some photos could not be named; "
            "set PYTHONUTF8=1 in the environment, or a locale such as LC_ALL=C.UTF-8"
        )
