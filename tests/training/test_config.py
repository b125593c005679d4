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


@pytest.mark.parametrize("more", [{}, {"tile": "none"}])
def test_hard_negatives_are_windows(photos, tmp_path, more):
    with pytest.raises(ConfigError, match=r"hard_negatives = True: is for windows of photos with boxes; give --tile"):
        FinetuneConfig(data=photos, out=tmp_path, hard_negatives=True, **more)
    assert FinetuneConfig(data=photos, out=tmp_path, hard_negatives=True, tile="64").tile == 64
    assert FinetuneConfig(data=photos, out=tmp_path, **more).tile is None
