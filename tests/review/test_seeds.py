import numpy as np

from pipeline.review.row_maps import RowMaps
from pipeline.review.seeds import propose_boxes

WHOLE = (0.0, 0.0, 80.0, 40.0)  # of a photo of 80 x 40 pixels; a map of 4 x 8 cells has 10 pixels a cell
SIZE = (80, 40)


def heat_at(*cells, background=0.0, grid=(4, 8)):
    heat = np.full(grid, background, np.float32)
    for y, x, value in cells:
        heat[y, x] = value
    return heat


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
