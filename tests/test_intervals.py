"""Bootstrap intervals against the interval of a mean."""

import math

import numpy as np
import pytest

from pipeline.intervals import bootstrap


def test_bootstrap_interval_of_a_mean():
    values = np.random.default_rng(1).normal(size=400)
    interval = bootstrap(lambda indices: {"mean": float(values[indices].mean())}, 400, resamples=2000, seed=0)["mean"]
    assert interval.value == values.mean()
    assert interval.low == pytest.approx(values.mean() - 1.96 * values.std() / 20, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + 1.96 * values.std() / 20, abs=0.01)


def test_bootstrap_is_seeded_and_can_be_off():
    values = np.array([0, 0, 0, 0, 1, 1, 2, 2])

    def measure(indices):
        return {"mean": float(values[indices].mean())}

    assert bootstrap(measure, 8, resamples=50, seed=1) == bootstrap(measure, 8, resamples=50, seed=1)
    assert bootstrap(measure, 8, resamples=50, seed=1) != bootstrap(measure, 8, resamples=50, seed=2)
    assert math.isnan(bootstrap(measure, 8, resamples=0, seed=1)["mean"].low)
