import numpy as np
import pytest

from pipeline.analysis import nearest_maps
from pipeline.results.read import read_results
from pipeline.review.rows import read_rows
from pipeline.review.similar import SIMILAR, SimilarPhotos
from tests.helpers.tables import make_row, write_run


def map_row(number, heat):
    return make_row(f"{number:03}.png", attention=heat.ravel(), grid_h=heat.shape[0], grid_w=heat.shape[1])


def test_the_same_photos_as_the_analysis_finds(tmp_path):
    random = np.random.default_rng(0)
    centres = random.random((5, 6, 7))
    heats = [(centres[number % 5] + 0.1 * random.random((6, 7))).astype(np.float32) for number in range(60)]
    rows = [map_row(number, heat) for number, heat in enumerate(heats)]
    write_run(tmp_path, tmp_path / "photos", rows[:31], rows[31:])
    similar = SimilarPhotos(read_rows(tmp_path))
    frame = read_results(tmp_path)
    for row in (0, 17, 59):
        expected = set(nearest_maps(frame, SIMILAR, of=[row])["nearest"])
        assert len(expected & set(similar.find(row))) >= SIMILAR - 1  # half precision may exchange equals
        assert {other % 5 for other in similar.find(row)} == {row % 5}


@pytest.mark.parametrize("grid", [(30, 29), (3, 40)])
def test_large_maps_are_averaged_down(tmp_path, grid):
    heats = np.zeros((4, *grid), np.float32)
    heats[:2, 0, :3] = heats[2:, -1, -3:] = 1
    write_run(tmp_path, tmp_path / "photos", [map_row(number, heat) for number, heat in enumerate(heats)])
    similar = SimilarPhotos(read_rows(tmp_path))
    assert [similar.find(row)[0] for row in range(4)] == [1, 0, 3, 2]


def test_rows_without_a_map_and_with_a_uniform_one(tmp_path):
    rows = [
        map_row(0, np.eye(3, dtype=np.float32)),
        map_row(1, np.ones((3, 3), np.float32)),
        make_row("002.png", attention=None, grid_h=None, grid_w=None),
        map_row(3, np.eye(3, dtype=np.float32)),
    ]
    write_run(tmp_path, tmp_path / "photos", rows)
    similar = SimilarPhotos(read_rows(tmp_path))
    assert [similar.find(row) for row in range(4)] == [[3], [], [], [0]]
