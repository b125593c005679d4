"""Optional dependencies."""

import pytest

from jobs.command_line.extras import require_extra
from pipeline.errors import ConfigError


def test_missing_extra_is_named_with_the_command_to_install_it():
    with pytest.raises(ConfigError, match=r"no_such_module is missing; .*pip install 'vitrollout\[train\]'"):
        require_extra("train", "json", "no_such_module")


def test_installed_extra_is_fine():
    require_extra("train", "json")
