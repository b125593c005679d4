"""Statistics of maps, compared with plain Python in float64, and regions with a flood fill."""

import math

import numpy as np
import pytest

from pipeline.maps.statistics import cell_shares, centroid, concentration, entropy, label_regions, scale_to_unit
from tests.helpers.map_numbers import numbers_of_map

GRIDS = [(1, 1), (2, 3), (7, 5), (16, 16), (3, 40)]


def random_maps(grid: tuple[int, int], count: int = 20) -> np.ndarray:
    """Maps skewed like real ones, on many scales, with cells of 0 and below."""
    random = np.random.default_rng(math.prod(grid))
    maps = random.gamma(0.3, size=(count, *grid)) * 10.0 ** random.integers(-6, 3, (count, 1, 1))
    maps[::3] -= maps[::3].mean()
    return maps.astype(np.float32)


def flatten(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(*maps.shape[:-2], -1)


@pytest.mark.parametrize("grid", GRIDS)
def test_statistics_of_random_maps(grid):
    maps = random_maps(grid)
    statistics = np.column_stack([entropy(flatten(maps)), concentration(flatten(maps)), centroid(maps)])
    expected = np.array([numbers_of_map(attention) for attention in maps])
    assert statistics == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert cell_shares(flatten(maps)).sum(axis=1) == pytest.approx(1, rel=1e-5)
    assert cell_shares(flatten(maps)).min() >= 0


@pytest.mark.parametrize("grid", GRIDS)
def test_batches_of_maps_equal_single_maps(grid):
    maps = random_maps(grid)
    functions = (centroid, lambda maps: entropy(flatten(maps)), lambda maps: scale_to_unit(maps, 98))
    for function in functions:
        single = np.stack([function(attention) for attention in maps])
        assert function(maps) == pytest.approx(single, rel=1e-12)
        assert function(maps.reshape(4, 5, *grid)) == pytest.approx(single.reshape(4, 5, *single.shape[1:]), rel=1e-12)


def test_concentration_from_uniform_to_one_cell():
    cells = np.array([[0.2] * 4, [0, 0, 3, 0], [1, 1, 0, 0], [0] * 4, [-1, -1, -2, 0]], np.float32)
    assert concentration(cells) == pytest.approx([0, 1, 0.5, 0, 0], abs=1e-6)
    assert entropy(cells) == pytest.approx([math.log(4), 0, math.log(2), math.log(4), math.log(4)])
    assert centroid(cells.reshape(-1, 1, 4))[:3] == pytest.approx(np.array([[2, 0.5], [2.5, 0.5], [1, 0.5]]))


def test_scale_by_hand():
    ramp = np.arange(101, dtype=np.float32).reshape(1, 101) - 40
    assert scale_to_unit(ramp, 50).ravel() == pytest.approx(np.minimum(np.arange(101) / 50, 1))
    assert scale_to_unit(ramp, 100).ravel() == pytest.approx(np.arange(101) / 100)
    assert scale_to_unit(np.full((2, 2), 7, np.float32), 98).tolist() == [[0, 0], [0, 0]]
    one_hot = np.eye(1, 400, dtype=np.float32)  # its 98th percentile is 0: scaled by the maximum
    assert scale_to_unit(one_hot, 98).tolist() == one_hot.tolist()


def flood_fill(is_hot: np.ndarray) -> list[set[tuple[int, int]]]:
    """The cells (y, x) of each region of a single map."""
    remaining = {(int(y), int(x)) for y, x in np.argwhere(is_hot)}
    regions = []
    while remaining:
        region, edge = set(), {remaining.pop()}
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            neighbours = {(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & remaining
            remaining -= neighbours
            edge |= neighbours
        regions.append(region)
    return regions


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("hot_share", [0.1, 0.4, 0.8])
def test_regions_match_a_flood_fill(grid, hot_share):
    is_hot = np.random.default_rng(1).random((30, *grid)) < hot_share
    numbers = label_regions(is_hot)
    assert np.array_equal(numbers > 0, is_hot)
    regions = [(index, region) for index, hot in enumerate(is_hot) for region in flood_fill(hot)]
    assert sorted(np.unique(numbers[is_hot])) == list(range(1, len(regions) + 1))
    for index, region in regions:
        number = {int(numbers[index, y, x]) for y, x in region}
        assert len(number) == 1
        assert (numbers == number.pop()).sum() == len(region)


def test_long_winding_regions_are_one():
    snake = np.ones((9, 9), bool)
    snake[1::4, 1:] = snake[3::4, :-1] = False
    assert len(np.unique(label_regions(snake[None])[0][snake])) == 1
