import numpy as np
import pytest

from pipeline.errors import StoreError
from pipeline.results.compact import compact
from pipeline.results.names import part_files
from pipeline.review.row_maps import MapReader
from pipeline.review.rows import read_rows
from tests.helpers.tables import flip_a_bit, make_row, write_run


def numbered_row(number, **changes):
    heat = np.full(6, number, np.float32)
    return make_row(f"{number}.png", attention=heat, more_maps=[("libragrad", heat + 0.5)], **changes)


def read_values(reader, count):
    return [(maps.maps["rollout"][0, 0], maps.maps["libragrad"][1, 2]) for maps in map(reader.read, range(count))]


def test_each_row_has_its_own_maps(tmp_path):
    write_run(tmp_path, tmp_path / "photos", [numbered_row(3), numbered_row(0)], [numbered_row(2), numbered_row(1)])
    reader = MapReader(read_rows(tmp_path))
    assert read_values(reader, 4) == [(number, number + 0.5) for number in range(4)]
    maps = reader.read(0)
    assert (maps.method, maps.box, maps.maps["rollout"].shape) == ("rollout", (0, 1, 30, 19), (2, 3))


def test_after_a_compaction(tmp_path):
    for number in (2, 0, 1):
        write_run(tmp_path, tmp_path / "photos", [numbered_row(number)])
    rows = read_rows(tmp_path)
    compact(tmp_path)
    assert not any(part in part_files(tmp_path) for part in rows.places.parts)
    assert read_values(MapReader(rows), 3) == [(number, number + 0.5) for number in range(3)]


def test_a_row_replaced_by_a_later_run_has_no_map(tmp_path):
    write_run(tmp_path, tmp_path / "photos", [numbered_row(0), numbered_row(1)])
    rows = read_rows(tmp_path)
    write_run(tmp_path, tmp_path / "photos", [numbered_row(0)])
    compact(tmp_path)
    reader = MapReader(rows)
    assert reader.read(0) is None
    assert reader.read(1) is not None


def test_maps_of_another_size_than_the_grid_are_left_out(tmp_path):
    write_run(tmp_path, tmp_path / "photos", [make_row("a.png")])  # two cells of "article" on a grid of six
    assert list(MapReader(read_rows(tmp_path)).read(0).maps) == ["rollout"]


def test_row_without_a_map(tmp_path):
    write_run(tmp_path, tmp_path / "photos", [make_row("a.png", attention=None, more_maps=None, grid_h=None)])
    assert MapReader(read_rows(tmp_path)).read(0) is None


def test_damaged_map(tmp_path):
    write_run(tmp_path, tmp_path / "photos", [numbered_row(0)])
    rows = read_rows(tmp_path)
    flip_a_bit(part_files(tmp_path)[0], "attention.list.element")
    with pytest.raises(StoreError, match="--repair"):
        MapReader(rows).read(0)
