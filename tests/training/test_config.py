"""The settings of a fine-tuning: every mistake is named."""

import pytest

from pipeline.errors import ConfigError
from pipeline.training.config import FinetuneConfig


def test_all_wrong_settings_are_named_at_once(photos, tmp_path):
    with pytest.raises(ConfigError) as caught:
        FinetuneConfig(data=photos, out=tmp_path, epochs="0", test_share="0.9", learning_rat="1", patience="soon")
    message = str(caught.value)
    for words in (
        "epochs = 0",
        "test_share = 0.9: plus validation_share must be under 1, to leave photos for training",
        "patience = soon",
    ):
        assert words in message
    assert "did you mean learning_rate" in message
