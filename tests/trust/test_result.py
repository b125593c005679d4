"""The advice drawn from measured methods: compared with the baselines photo by photo."""

import math

import numpy as np
import pytest

from pipeline.intervals import Estimate
from pipeline.trust.baselines import BASELINES
from pipeline.trust.comparison import compare_in_pairs
from pipeline.trust.result import TrustReport

PHOTOS = 30
SPREAD = np.random.default_rng(0).normal(0, 0.2, PHOTOS)  # of the photos: shared by all methods
NOISE = np.random.default_rng(1).normal(0, 0.01, (10, PHOTOS))


def make_report(photos=PHOTOS, failing=None, **faithfulness):
    """Return a report of methods with these means; photos differ far more than methods do."""
    values = {
        name.replace("_", "-"): (mean + SPREAD + NOISE[index] - NOISE[index].mean())[:photos]
        for index, (name, mean) in enumerate(faithfulness.items())
    }
    passing = {"shuffled_weights": Estimate(0.1), "other_label": Estimate(0.1), "hit_grid": Estimate(math.nan)}
    estimates = {
        method: passing | {"faithfulness": Estimate(row.mean())} | (failing or {}).get(method, {})
        for method, row in values.items()
    }
    seconds = {method: 0.1 for method in values if method not in BASELINES}
    gains = compare_in_pairs(values, resamples=500, seed=0)
    return TrustReport([], estimates, seconds, photos=photos, failed=0, pointed=0, gains=gains)


BELOW = {"random": 0.0, "gaussian": 0.1}


def test_the_sentence_names_the_best_method_and_its_equals():
    report = make_report(rollout=0.5, relevance=0.709, libragrad=0.71, legrad=0.2, edges=0.4, **BELOW)
    assert report.trusted == ["libragrad", "relevance", "rollout"]
    assert report.sentence.startswith("Use libragrad: of 4 methods it ranks the patches best (insertion - deletion 0.6")
    assert "; over edges, 0.310 (0.30" in report.sentence
    assert "better in 30 of 30 photos)" in report.sentence
    assert report.sentence.endswith("takes 0.100 s an image; relevance is not significantly different.")
    more = make_report(rollout=0.5, relevance=0.709, libragrad=0.71, attention=0.708, edges=0.4, **BELOW)
    assert "; relevance, attention are not significantly different." in more.sentence


def test_pointing_is_said_beside_the_best_baseline():
    hits = {"rollout": 0.0, "edges": 0.58, "random": 0.08, "gaussian": 0.25}
    failing = {name: {"hit_grid": Estimate(hit)} for name, hit in hits.items()}
    report = make_report(failing=failing, rollout=0.5, edges=0.4, **BELOW)
    assert ", points inside the marked defect in 0% of 0 photos (edges: 58%), and takes" in report.sentence


def test_small_gains_count_where_each_photo_has_one():
    """Photos differ by 0.2: intervals of the means overlap from 0.33 to 0.47, the difference is known to 0.005."""
    report = make_report(rollout=0.43, edges=0.4, **BELOW)
    assert report.trusted == ["rollout"]
    assert report.gain("rollout").mean.low > 0.02


def test_no_method_is_named_if_none_beats_the_baselines():
    report = make_report(rollout=0.401, relevance=0.35, edges=0.4, **BELOW)
    assert report.trusted == report.undecided == []
    assert report.sentence.startswith("None of the 2 methods ranks the patches better than the baselines (edges: 0.")


def test_the_best_baseline_is_not_the_only_one():
    report = make_report(rollout=0.5, random=0.0, gaussian=0.4, edges=0.5)
    assert report.trusted == []
    assert make_report(rollout=0.5, random=0.5, gaussian=0.4, edges=0.1).trusted == []


@pytest.mark.parametrize(("photos", "gain"), [(5, 0.3), (2, 0.5), (8, 0.004)])
def test_too_few_photos_are_said(photos, gain):
    values = {"rollout": 0.4 + gain, "edges": 0.4, **BELOW}
    if photos < 6:
        report = make_report(photos, **values)
    else:  # enough photos, and methods that differ as much as photos do
        noisy = {name: mean + np.random.default_rng(len(name)).normal(0, 0.2, photos) for name, mean in values.items()}
        report = make_report(photos, **values)
        gains = compare_in_pairs(noisy, resamples=500, seed=0)
        report = TrustReport([], report.estimates, report.seconds, photos, 0, 0, gains)
    assert report.trusted == []
    assert report.undecided == ["rollout"]
    assert report.sentence.startswith("Too few photos to tell whether the 1 methods rank")
    assert report.sentence.endswith(f"of {photos} photos; measure on more than {photos}.")


def test_a_method_that_fails_a_sanity_check_is_not_named():
    failing = {"relevance": {"other_label": Estimate(0.99)}, "rollout": {"shuffled_weights": Estimate(0.8)}}
    report = make_report(relevance=0.9, rollout=0.8, libragrad=0.7, edges=0.4, failing=failing, **BELOW)
    assert report.trusted == ["libragrad"]
    assert "relevance does not depend on the label." in report.sentence
    assert "rollout does not depend on what the model has learnt." in report.sentence


def test_differences_by_hand():
    gains = compare_in_pairs({"a": np.array([0.5, 0.7]), "b": np.array([0.4, 0.8])}, resamples=200, seed=0)
    assert (gains["a"]["b"].mean.value, gains["a"]["b"].better) == (pytest.approx(0), 1)
    assert gains["b"]["a"].mean.high == pytest.approx(-gains["a"]["b"].mean.low)
    low, high = gains["a"]["b"].mean.low, gains["a"]["b"].mean.high
    assert (high - low) / 2 == pytest.approx(12.706 * 0.1, rel=1e-3)  # Student's with one degree of freedom


def test_pairs_hold_for_few_simulated_photos():
    rng = np.random.default_rng(4)
    held = []
    for _ in range(300):
        photo = rng.normal(0, 0.3, 7)
        values = {"a": 0.1 + photo + rng.normal(0, 0.1, 7), "b": photo + rng.normal(0, 0.1, 7)}
        mean = compare_in_pairs(values, resamples=200, seed=0)["a"]["b"].mean
        held.append(mean.low <= 0.1 <= mean.high)
    assert np.mean(held) >= 0.92
