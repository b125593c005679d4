"""Intervals against published values, the interval of a mean, and simulated photos: few of them too."""

import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom, norm

from pipeline.intervals import (
    Estimate,
    auc_interval,
    bootstrap,
    f1_interval,
    mean_interval,
    normal_mean_interval,
    share_interval,
    trials_to_show,
)

RNG = np.random.default_rng(7)


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


def test_shares_against_published_values():
    assert share_interval(5, 5) == pytest.approx((0.4782, 1), abs=1e-4)  # 0.025 ** (1 / 5)
    assert share_interval(0, 10) == pytest.approx((0, 0.3085), abs=1e-4)
    assert share_interval(81, 263) == pytest.approx((0.2527, 0.3676), abs=1e-4)  # Newcombe 1998, table 1
    assert all(map(math.isnan, share_interval(0, 0)))
    assert share_interval(2.5, 5)[0] == pytest.approx(1 - share_interval(2.5, 5)[1])


@pytest.mark.parametrize("count", [1, 5, 12, 59])
def test_shares_hold_for_every_true_share(count):
    limits = np.array([share_interval(hits, count) for hits in range(count + 1)])
    for share in np.linspace(0.005, 0.995, 67):
        holds = (limits[:, 0] <= share) & (share <= limits[:, 1])
        assert binom.pmf(np.arange(count + 1), count, share)[holds].sum() >= 0.95


@pytest.mark.parametrize(("photos", "cells"), [(8, (0.3, 0.05, 0.1)), (20, (0.2, 0.02, 0.0)), (60, (0.1, 0.1, 0.15))])
def test_f1_holds_for_simulated_photos(photos, cells):
    """Cells are the shares of photos found, missed and called by mistake."""
    true_f1 = 2 * cells[0] / (2 * cells[0] + cells[1] + cells[2])
    draws = RNG.multinomial(photos, [*cells, 1 - sum(cells)], 1500)
    limits = cache(f1_interval)
    held = [limits(int(found), int(missed + called)) for found, missed, called, _ in draws if found + missed + called]
    assert np.mean([low <= true_f1 <= high for low, high in held]) >= 0.94


@pytest.mark.parametrize(("positives", "negatives", "shift"), [(5, 5, 1.5), (6, 30, 2.5), (25, 25, 0.6)])
def test_auc_holds_for_simulated_scores(positives, negatives, shift):
    true_auc = norm.cdf(shift / math.sqrt(2))
    found, good = RNG.normal(shift, 1, (600, positives, 1)), RNG.normal(0, 1, (600, 1, negatives))
    limits = cache(auc_interval)
    held = [limits(auc, positives, negatives) for auc in (found > good).mean(axis=(1, 2)).tolist()]
    assert np.mean([low <= true_auc <= high for low, high in held]) >= 0.93


def test_auc_of_a_perfect_order_and_of_the_reverse():
    low, high = auc_interval(1.0, 5, 5)
    assert (0.6 < low < 0.7, high) == (True, 1.0)
    assert auc_interval(0.0, 5, 5) == pytest.approx((0, 1 - low))
    assert all(map(math.isnan, auc_interval(math.nan, 5, 5)))


@pytest.mark.parametrize("shares", [(0.99, 0.9, 0.8), (1.0, 0.97), (0.5, 0.6, 0.7, 0.95)])
def test_means_of_shares_hold(shares):
    draws = RNG.binomial(9, shares, (1000, len(shares)))
    limits = cache(share_interval)
    held = [mean_interval((row / 9).tolist(), [limits(int(hits), 9) for hits in row]) for row in draws]
    assert np.mean([low <= np.mean(shares) <= high for low, high in held]) >= 0.94


def test_errors_shared_by_two_metrics_widen_their_mean():
    """Of two metrics that fall together, the mean has the interval of either; of four, twice the variance."""
    limits = [(0.5, 1.0)] * 4
    assert mean_interval([1, 1], limits[:2], shared_by=2) == (0.5, 1)
    assert mean_interval([1, 1], limits[:2])[0] == pytest.approx(1 - 0.5 / math.sqrt(2))
    assert mean_interval([1] * 4, limits, shared_by=2)[0] == pytest.approx(1 - 0.5 / math.sqrt(2))


def test_mean_of_few_values():
    values = RNG.normal(0.3, 0.2, (800, 4))
    held = [normal_mean_interval(row, (-1, 1)) for row in values]
    assert np.mean([low <= 0.3 <= high for low, high in held]) >= 0.93
    assert normal_mean_interval(np.array([0.0, 1.0]), (0, 1)) == (0, 1)
    assert all(map(math.isnan, normal_mean_interval(np.array([0.5]), (0, 1))))


def test_trials_to_show_a_share():
    assert [trials_to_show(share) for share in (0.9, 0.95, 0.99, 0.999)] == [29, 59, 299, 2995]
    assert trials_to_show(1) is None


def test_union_of_intervals():
    assert Estimate(0.5, 0.4, 0.6).widen((0.45, 0.7)) == Estimate(0.5, 0.4, 0.7)
    assert Estimate(1.0, 0.8, 0.9).widen((math.nan, math.nan)) == Estimate(1.0, 0.8, 1.0)
    assert math.isnan(Estimate(0.5).widen((math.nan, math.nan)).low)
    assert math.isnan(Estimate(math.nan).widen((0, 1)).low)
