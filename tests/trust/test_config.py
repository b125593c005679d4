"""Settings of a measurement of trust."""

import pytest

from pipeline.errors import ConfigError
from pipeline.trust.config import TrustConfig


def test_all_wrong_settings_are_named_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        TrustConfig(data=tmp_path, out=tmp_path / "in", methods="rollouts", masks=tmp_path / "no", boxes=tmp_path / "n")
    assert len(caught.value.problems) == 4
