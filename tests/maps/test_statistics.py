"""Numbers of maps, against the same in plain Python and float64, and regions against SciPy's."""

import math

import numpy as np
import pytest
from scipy import ndimage

from pipeline.maps.statistics import cell_shares, centroid, concentration, entropy, regions, scaled

GRIDS = [(1, 1), (2, 3), (7, 5), (16, 16), (3, 40)]


def random_maps(grid: tuple[int, int], count: int = 20) -> np.ndarray:
    """Skewed as real ones are, on many scales, with cells of 0 and below."""
    chance = np.random.default_rng(math.prod(grid))
    maps = chance.gamma(0.3, size=(count, *grid)) * 10.0 ** chance.integers(-6, 3, (count, 1, 1))
    maps[::3] -= maps[::3].mean()
    return maps.astype(np.float32)


def flat(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(*maps.shape[:-2], -1)


def reference(one: np.ndarray) -> tuple[float, float, float, float]:
    """Entropy, concentration and centre of one map."""
    cells = {(y, x): max(0.0, float(value)) for (y, x), value in np.ndenumerate(one)}
    total = sum(cells.values())
    shares = {place: value / total if total else 1 / len(cells) for place, value in cells.items()}
    spread = -sum(share * math.log(share) for share in shares.values() if share)
    x, y = (sum(share * (place[axis] + 0.5) for place, share in shares.items()) for axis in (1, 0))
    return spread, 1 - spread / math.log(max(2, len(cells))), x, y


@pytest.mark.parametrize("grid", GRIDS)
def test_numbers_of_random_maps(grid):
    maps = random_maps(grid)
    found = np.column_stack([entropy(flat(maps)), concentration(flat(maps)), centroid(maps)])
    assert found == pytest.approx(np.array([reference(one) for one in maps]), rel=1e-5, abs=1e-5)
    assert cell_shares(flat(maps)).sum(axis=1) == pytest.approx(1, rel=1e-5)
    assert cell_shares(flat(maps)).min() >= 0


@pytest.mark.parametrize("grid", GRIDS)
def test_many_maps_at_once_are_as_each_alone(grid):
    maps = random_maps(grid)
    for number_of in (centroid, lambda one: entropy(flat(one)), lambda one: scaled(one, 98)):
        alone = np.stack([number_of(one) for one in maps])
        assert number_of(maps) == pytest.approx(alone, rel=1e-12)
        assert number_of(maps.reshape(4, 5, *grid)) == pytest.approx(alone.reshape(4, 5, *alone.shape[1:]), rel=1e-12)


def test_from_even_to_one_cell():
    cells = np.array([[0.2] * 4, [0, 0, 3, 0], [1, 1, 0, 0], [0] * 4, [-1, -1, -2, 0]], np.float32)
    assert concentration(cells) == pytest.approx([0, 1, 0.5, 0, 0], abs=1e-6)
    assert entropy(cells) == pytest.approx([math.log(4), 0, math.log(2), math.log(4), math.log(4)])
    assert centroid(cells.reshape(-1, 1, 4))[:3] == pytest.approx(np.array([[2, 0.5], [2.5, 0.5], [1, 0.5]]))


def test_scale_by_hand():
    one = np.arange(101, dtype=np.float32).reshape(1, 101) - 40
    assert scaled(one, 50).ravel() == pytest.approx(np.minimum(np.arange(101) / 50, 1))
    assert scaled(one, 100).ravel() == pytest.approx(np.arange(101) / 100)
    assert scaled(np.full((2, 2), 7, np.float32), 98).tolist() == [[0, 0], [0, 0]]
    one_hot = np.eye(1, 400, dtype=np.float32)  # its 98th percentile is 0: scaled by the maximum
    assert scaled(one_hot, 98).tolist() == one_hot.tolist()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("hot_share", [0.1, 0.4, 0.8])
def test_regions_are_scipys(grid, hot_share):
    is_hot = np.random.default_rng(1).random((30, *grid)) < hot_share
    for cells, found in zip(is_hot, regions(is_hot), strict=True):
        expected, count = ndimage.label(cells, structure=np.ones((3, 3)))
        assert np.array_equal(found >= 0, cells)
        pairs = set(zip(expected[cells].tolist(), found[cells].tolist(), strict=True))
        assert len(pairs) == len({number for number, _ in pairs}) == len({number for _, number in pairs}) == count


def test_long_winding_regions_are_one():
    snake = np.ones((9, 9), bool)
    snake[1::4, 1:] = snake[3::4, :-1] = False
    assert len(np.unique(regions(snake[None])[0][snake])) == 1
