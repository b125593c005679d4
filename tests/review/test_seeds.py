"""Boxes proposed to a reviewer: from the best of a photo's maps."""

from pipeline.review.row_maps import RowMaps
from pipeline.review.seeds import propose_boxes
from tests.maps.test_hot_regions import SIZE, WHOLE, heat_at


def test_libragrad_is_preferred_wherever_it_stands():
    rough, fine = heat_at((0, 0, 1.0)), heat_at((3, 7, 1.0))
    for method, maps in (("rollout", {"rollout": rough, "libragrad": fine}), ("libragrad", {"libragrad": fine})):
        seeds = propose_boxes(RowMaps(method, maps, WHOLE), SIZE)
        assert ([(seed.x1, seed.y1) for seed in seeds.boxes], seeds.method, seeds.warning) == (
            [SIZE],
            "libragrad",
            None,
        )


def test_other_maps_come_with_a_warning():
    seeds = propose_boxes(RowMaps("rollout", {"rollout": heat_at((0, 0, 1.0))}, WHOLE), SIZE)
    assert seeds.method == "rollout"
    assert "run with --method rollout,libragrad" in seeds.warning
    assert propose_boxes(None, SIZE).as_json()["boxes"] == []
