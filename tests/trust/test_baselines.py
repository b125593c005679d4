"""Maps without knowledge of the model."""

import numpy as np

from pipeline.trust.baselines import BASELINES, compute_baselines


def test_baselines():
    pixels = np.zeros((3, 34, 32), np.uint8)
    pixels[:, 20:, :] = 255
    maps = compute_baselines(pixels, (4, 4), 8, np.random.default_rng(3))
    assert list(maps) == list(BASELINES)
    assert (maps["edges"].argmax(axis=0) == 2).all()
    gaussian = maps["gaussian"]
    np.testing.assert_allclose(gaussian, gaussian[::-1, ::-1], rtol=1e-6)
    assert gaussian[1, 1] > gaussian[0, 1] > gaussian[0, 0]
    np.testing.assert_array_equal(
        maps["random"], compute_baselines(pixels, (4, 4), 8, np.random.default_rng(3))["random"]
    )
