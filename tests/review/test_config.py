from getpass import getuser

import pytest

from pipeline.errors import ConfigError
from pipeline.review.config import ReviewConfig


def test_defaults_are_those_of_the_specification(tmp_path):
    config = ReviewConfig(out=tmp_path)
    assert (config.order, config.audit, config.port, config.host) == ("mixed", 0.1, 0, "127.0.0.1")
    assert config.person == getuser()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "photos.example.com"])
def test_others_may_see_it_only_on_purpose(tmp_path, host):
    with pytest.raises(ConfigError, match="others in the network could see the photos"):
        ReviewConfig(out=tmp_path, host=host)
    assert ReviewConfig(out=tmp_path, host=host, i_know_others_can_see_it=True).host == host


def test_a_wrong_condition_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"^where = scor<1: no such column: scor; did you mean score\?$"):
        ReviewConfig(out=tmp_path, where="scor<1")


def test_names_of_classes_are_cleaned_and_checked(tmp_path):
    assert ReviewConfig(out=tmp_path, classes=" burr ,dent\ufeff").classes == ("burr", "dent")
    with pytest.raises(ConfigError, match="is not a name of a class"):
        ReviewConfig(out=tmp_path, classes=("a\nb",))


def test_all_mistakes_at_once(tmp_path):
    with pytest.raises(ConfigError) as raised:
        ReviewConfig(out=tmp_path, order="best", port=70_000, audit=2, labels=tmp_path / "none.csv")
    assert len(raised.value.problems) == 4
