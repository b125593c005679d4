"""The time of a measurement, and the settings for less."""

from pipeline.trust.config import TrustConfig
from pipeline.trust.cost import describe_cost


def describe(tmp_path, seconds, photos, **settings):
    return describe_cost(seconds, photos, TrustConfig(data=tmp_path, out=tmp_path.parent / "out", **settings))


def test_a_short_one_is_only_told(tmp_path):
    assert describe(tmp_path, 0.5, 200) == "0.5 s a photo: 200 photos take about 01:40"


def test_a_long_one_comes_with_ways_to_spend_less(tmp_path):
    assert describe(tmp_path, 18, 200) == (
        "18 s a photo: 200 photos take about 1:00:00; for less: --limit 33 (about 09:54), "
        "--methods with fewer than 7, --steps 3 instead of 6"
    )
    assert describe(tmp_path, 60, 25, methods="rollout,libragrad", steps=3).endswith("--limit 20 (about 20:00)")
    assert describe(tmp_path, 90, 20, methods="rollout", steps=2) == "90 s a photo: 20 photos take about 30:00"
