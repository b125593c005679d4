"""Analysis of the maps of a table, compared with plain float64 photo by photo, and with pixels calculated by hand."""

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.analysis import hot_boxes, map_statistics, mean_maps, nearest_maps, stack_attention
from pipeline.model.input_geometry import InputGeometry
from pipeline.results.read import read_results
from pipeline.results.schema import to_table
from tests.helpers.map_numbers import numbers_of_map
from tests.helpers.tables import FAILED, make_row, write_run

GRID = (5, 8)
LABELS = ["ok", "short", "open"]
NO_MAP = FAILED | {"width": None, "height": None, "grid_h": None, "grid_w": None, "map_box": None}


def table_of(rows) -> pd.DataFrame:
    """Return a frame like that of `read_results`, indexed by path."""
    return to_table(rows).to_pandas().set_index("path")


def row_of(path: str, attention: np.ndarray, **changes):
    return make_row(path, grid=attention.shape, attention=attention.ravel().astype(np.float32), **changes)


def random_rows(count: int, grid: tuple[int, int] = GRID, seed: int = 0, failed: float = 0.2) -> list:
    random = np.random.default_rng(seed)
    return [
        make_row(f"{number:03d}.jpg", **NO_MAP)
        if random.random() < failed
        else row_of(
            f"{number:03d}.jpg",
            random.gamma(0.3, size=grid) * 10.0 ** random.integers(-4, 2),
            label=LABELS[random.integers(3)],
            width=400 + number,
            height=300,
            map_box=[number, -10.0, 500.0, 290.0],
        )
        for number in range(count)
    ]


@pytest.fixture
def frame() -> pd.DataFrame:
    table = table_of(random_rows(60))
    assert 5 < table["attention"].isna().sum() < 20
    return table


def maps_of(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return each photo's map in float64."""
    rows = frame[frame["status"] == "ok"]
    return {path: row["attention"].astype(float).reshape(GRID) for path, row in rows.iterrows()}


def test_maps_of_a_results_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    out = tmp_path / "out"
    write_run(out, tmp_path / "photos", [make_row("b.jpg"), make_row("a.jpg"), make_row("f.jpg", **NO_MAP)])
    maps = pipeline.stack_attention(read_results(out))
    assert maps.shape == (2, 2, 3)
    assert maps.dtype == np.float32
    assert maps[0].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_maps_come_in_the_order_of_the_rows(frame):
    shuffled = frame.sample(frac=1, random_state=1)
    maps = maps_of(shuffled)
    assert np.array_equal(stack_attention(shuffled), np.stack(list(maps.values())))


@pytest.mark.parametrize("by", ["label", "run_id"])
def test_mean_maps(frame, by):
    frame = frame.assign(run_id=pd.Categorical([str(number % 4) for number in range(len(frame))], list("012345")))
    members: dict[str, list] = {}
    for path, attention in maps_of(frame).items():
        members.setdefault(frame.loc[path, by], []).append(attention)
    means = mean_maps(frame.sample(frac=1, random_state=2), by)
    assert list(means) == sorted(members)
    for label, maps in members.items():
        assert means[label] == pytest.approx(np.mean(maps, axis=0), rel=1e-6)
        assert means[label].shape == GRID


def test_statistics_of_each_photo(frame):
    statistics = map_statistics(frame.sample(frac=1, random_state=3)).loc[frame.index]
    maps = maps_of(frame)
    assert statistics.isna().all(axis=1).tolist() == [path not in maps for path in frame.index]
    for path, attention in maps.items():
        entropy, concentration, x, y = numbers_of_map(attention)
        left = int(path.removesuffix(".jpg"))
        in_pixels = [left + x / GRID[1] * (500 - left), y / GRID[0] * 300 - 10]
        assert statistics.loc[path].to_list() == pytest.approx([entropy, concentration, *in_pixels], rel=1e-5)


def test_statistics_line_up_with_a_duplicated_index(frame):
    twice = pd.concat([frame, frame.iloc[::-1]])
    statistics = map_statistics(twice)
    assert statistics.index.equals(twice.index)
    once = map_statistics(frame)
    pd.testing.assert_frame_equal(statistics, pd.concat([once, once.iloc[::-1]]))


def map_with_hot(*regions: tuple[slice | int, slice | int], grid: tuple[int, int] = (14, 14)) -> np.ndarray:
    """A map with a little noise and these hot regions, the hottest first."""
    attention = np.random.default_rng(0).random(grid) * 0.01
    for number, cells in enumerate(regions):
        attention[cells] = 1 - 0.1 * number
    return attention


def boxes_of(attention: np.ndarray, geometry: InputGeometry, width: int, height: int, **options) -> list[list[float]]:
    row = row_of("a.jpg", attention, width=width, height=height, map_box=geometry.map_box(width, height))
    return hot_boxes(table_of([row]), **options)[["x0", "y0", "x1", "y1"]].to_numpy().tolist()


def test_boxes_on_a_whole_photo():
    geometry = InputGeometry(resize=(70, 120), shortest_edge=None, crop=None, patch_size=10)
    attention = map_with_hot((slice(2, 4), slice(5, 8)), (6, 11), grid=(7, 12))
    assert boxes_of(attention, geometry, 600, 140) == pytest.approx(
        np.array([[250, 40, 400, 80], [550, 120, 600, 140]])
    )


def test_boxes_under_a_centre_crop():
    """640 x 480 becomes 320 x 240, cropped to 224 x 224 from 48, 8; a cell of 16 is 32 pixels of the photo."""
    geometry = InputGeometry(resize=None, shortest_edge=240, crop=(224, 224), patch_size=16)
    attention = map_with_hot((slice(3, 5), slice(5, 8)))
    assert boxes_of(attention, geometry, 640, 480) == pytest.approx(np.array([[256, 112, 352, 176]]))


def test_boxes_stay_within_the_photo_under_a_larger_map():
    """160 x 160 in the middle of a 224 x 224 input: two cells of padding on each side, 32 pixels."""
    geometry = InputGeometry(resize=None, shortest_edge=160, crop=(224, 224), patch_size=16)
    attention = map_with_hot((slice(0, 4), slice(0, 5)), (slice(6, 9), 13), (slice(10, 14), 9))
    assert boxes_of(attention, geometry, 160, 160) == pytest.approx(np.array([[0, 0, 48, 32], [112, 128, 128, 160]]))


def test_threshold_is_on_the_scale_of_overlays():
    geometry = InputGeometry(resize=(140, 140), shortest_edge=None, crop=None, patch_size=10)
    attention = map_with_hot((slice(0, 3), slice(0, 3)))
    attention[8, 8] = 0.3
    assert len(boxes_of(attention, geometry, 140, 140, threshold=0.2)) == 2
    assert len(boxes_of(attention, geometry, 140, 140, threshold=0.4)) == 1
    attention[13, 13] = 50  # a patch outshining all others, but less than 2% of the map
    assert len(boxes_of(attention, geometry, 140, 140, threshold=0.4)) == 2


def test_each_photo_has_its_own_boxes(frame):
    boxes = hot_boxes(frame)
    assert list(boxes.columns) == ["x0", "y0", "x1", "y1", "cells", "share"]
    boxed = [path for path in maps_of(frame) if path in boxes.index]
    assert list(boxes.index.unique()) == boxed
    assert len(boxed) > 40
    for path in boxed:
        pd.testing.assert_frame_equal(boxes.loc[[path]], hot_boxes(frame.loc[[path]]), check_index_type=False)
        assert boxes.loc[[path], "share"].is_monotonic_decreasing
    left = boxes.index.str[:3].astype(int)
    assert ((left <= boxes["x0"]) & (boxes["x0"] < boxes["x1"]) & (boxes["x1"] <= 400 + left)).all()
    assert ((boxes["y0"] >= 0) & (boxes["y0"] < boxes["y1"]) & (boxes["y1"] <= 290)).all()


def test_cells_and_share_of_a_region():
    attention = np.zeros(GRID)
    attention[1, 1], attention[2, 2], attention[4, 7] = 3, 2, 4
    rows = [row_of("a.jpg", attention, width=80, height=50, map_box=[0, 0, 80, 50])]
    boxes = hot_boxes(table_of(rows), threshold=0.4)
    assert boxes[["x0", "y0", "x1", "y1", "cells"]].to_numpy().tolist() == [[10, 10, 30, 30, 2], [70, 40, 80, 50, 1]]
    assert boxes["share"].tolist() == pytest.approx([5 / 9, 4 / 9])


def test_negative_values_are_not_hot():
    attention = np.full(GRID, -10.0)
    attention[1, 1], attention[2] = 3, 0
    rows = [row_of("a.jpg", attention, width=80, height=50, map_box=[0, 0, 80, 50]), row_of("b.jpg", -np.ones(GRID))]
    boxes = hot_boxes(table_of(rows))
    assert boxes.index.tolist() == ["a.jpg"]
    assert boxes[["x0", "y0", "x1", "y1", "cells", "share"]].to_numpy().tolist() == [[10, 10, 20, 20, 1, 1]]


@pytest.mark.parametrize("block", [1, 10**9])
def test_nearest_maps(frame, block, monkeypatch):
    monkeypatch.setattr("pipeline.analysis.maps._SIMILARITIES_AT_ONCE", block)
    maps = maps_of(frame)
    scaled = [
        (attention - attention.min()) / (np.percentile(attention, 98) - attention.min()) for attention in maps.values()
    ]
    correlations = pd.DataFrame(np.corrcoef(np.clip(scaled, 0, 1).reshape(len(maps), -1)), list(maps), list(maps))
    result = nearest_maps(frame, count=4)
    assert result.index.tolist() == [path for path in maps for _ in range(4)]
    for path, nearest in result.groupby("path"):
        expected = correlations[path].drop(path).sort_values(ascending=False)[:4]
        assert nearest["nearest"].tolist() == expected.index.tolist()
        assert nearest["similarity"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-5)


def test_nearest_to_selected_photos(frame):
    of_all = nearest_maps(frame, count=3)
    paths = list(maps_of(frame))[7:2:-2]
    pd.testing.assert_frame_equal(
        nearest_maps(frame, count=3, of=paths), pd.concat([of_all.loc[[path]] for path in paths])
    )
    with pytest.raises(ValueError, match=r"no map in this frame: \['elsewhere.jpg'\]"):
        nearest_maps(frame, of=pd.Series([paths[0], "elsewhere.jpg"]))
    failed = frame.index[frame["status"] == "failed"]
    with pytest.raises(ValueError, match=f"no map in this frame: .*{failed[0]}"):
        nearest_maps(frame, of=failed)
    assert nearest_maps(frame, of=[]).empty


def test_nearest_of_uniform_and_of_equal_maps():
    """The scale of the values makes no difference, and a uniform map is similar to none."""
    attention = np.arange(160.0).reshape(10, 16) % 7
    rows = [
        row_of("a", attention),
        row_of("b", 3 * attention + 100),
        row_of("c", np.full((10, 16), 0.1)),
        row_of("d", -attention),
    ]
    rows[1].attention[3] = 10_000  # one cell outshines the rest
    nearest = nearest_maps(table_of(rows), count=9)
    assert nearest.loc["a", "nearest"].tolist() == ["b", "c", "d"]
    assert nearest.loc["a", "similarity"].to_numpy() == pytest.approx([1, 0, -1], abs=0.05)
    assert nearest.loc["c", "similarity"].tolist() == [0, 0, 0]
    assert nearest["similarity"].between(-1, 1).all()


ALL = [stack_attention, mean_maps, map_statistics, hot_boxes, nearest_maps]


@pytest.mark.parametrize("function", ALL)
def test_maps_of_different_grids_are_refused(frame, function):
    mixed = pd.concat([frame, table_of([make_row("other.jpg", grid=(8, 5))])])
    with pytest.raises(ValueError, match=r"different grids can't be stacked: \[\[5, 8\], \[8, 5\]\]"):
        function(mixed)


@pytest.mark.parametrize("function", ALL)
def test_missing_columns_are_named(frame, function):
    with pytest.raises(ValueError, match="the frame has no column attention, grid_w"):
        function(frame.drop(columns=["attention", "grid_w"]))


@pytest.mark.parametrize(
    "rows", [[], [make_row("a.jpg", **NO_MAP), make_row("b.jpg", **NO_MAP)]], ids=["none", "failed"]
)
def test_tables_without_maps(rows):
    frame = table_of(rows)
    assert stack_attention(frame).shape == (0, 0, 0)
    assert mean_maps(frame) == {}
    assert map_statistics(frame).isna().all(axis=None)
    assert map_statistics(frame).index.equals(frame.index)
    assert list(hot_boxes(frame).columns) == ["x0", "y0", "x1", "y1", "cells", "share"]
    assert list(nearest_maps(frame).columns) == ["nearest", "similarity"]
    assert hot_boxes(frame).empty
    assert nearest_maps(frame).empty


def test_single_photo_has_no_nearest(frame):
    assert nearest_maps(frame.loc[list(maps_of(frame))[:1]]).empty
