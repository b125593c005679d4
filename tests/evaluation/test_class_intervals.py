"""Intervals of whole evaluations of few photos: all right, or simulated from known chances."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.evaluation.class_intervals import (
    class_intervals,
    combine_intervals,
    defect_intervals,
    f1_intervals,
    macro_f1_interval,
)
from pipeline.evaluation.metrics import class_metrics, defect_metrics, f1_by_class
from pipeline.intervals import Estimate, auc_interval

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(("truth", "classes"), [([0, 1, 1, 0, 1], 2), ([0, 1, 2], 3), ([2, 2, 2, 0, 0, 0, 0], 4)])
def test_few_photos_all_right_leave_much_open(truth, classes):
    truth = np.array(truth)
    probabilities = np.full((len(truth), classes), 0.01)
    probabilities[np.arange(len(truth)), truth] = 1 - 0.01 * (classes - 1)
    intervals = class_intervals(truth, probabilities)
    metrics = class_metrics(truth, probabilities)
    assert intervals.keys() == metrics.keys()
    for name, (low, high) in (intervals | f1_intervals(truth, probabilities)).items():
        if name == "ece":
            assert low == 0
            assert high > 0.3
        else:
            assert (low < 0.85, high) == (True, 1)
    is_defect, score = truth == 0, probabilities[:, 0]
    limits = defect_intervals(is_defect, score)
    assert limits.keys() == defect_metrics(is_defect, score).keys()
    assert all(high - low > 0.15 for low, high in limits.values())


@pytest.mark.parametrize("chances", [[[0.8, 0.15, 0.05], [0.1, 0.9, 0.0], [0.1, 0.1, 0.8]], [[0.9, 0.1], [0.3, 0.7]]])
def test_mean_f1_holds_for_simulated_photos(chances):
    """Each error lowers the F1 of two classes: their scores fall together."""
    joint = np.array(chances) / len(chances)
    true_f1 = (2 * joint.diagonal() / (joint.sum(axis=0) + joint.sum(axis=1))).mean()
    held = []
    for drawn in RNG.choice(joint.size, (100, 24), p=joint.ravel()):
        truth, predicted = np.unravel_index(drawn, joint.shape)
        low, high = macro_f1_interval(truth, np.eye(len(joint))[predicted])
        held.append(low <= true_f1 <= high)
    assert np.mean(held) >= 0.93


def test_the_two_classes_of_a_pair_are_ranked_alike():
    truth, score = np.array([0, 1] * 8), RNG.random(16)
    intervals = class_intervals(truth, np.stack([1 - score, score], axis=1))
    assert intervals["roc_auc"] == pytest.approx(auc_interval(roc_auc_score(truth, score), 8, 8))


def test_calibration_error_of_few_photos():
    """Ten photos at 0.9, nine of them right: no error, and as much as the accuracy is unknown."""
    truth = np.array([0] * 9 + [1])
    low, high = class_intervals(truth, np.tile([0.9, 0.1], (10, 1)))["ece"]
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(0.9 - 0.555, abs=0.001)  # Clopper-Pearson of 9 of 10: from 0.555


def test_exact_intervals_replace_and_others_widen():
    estimates = {"accuracy": Estimate(0.5, 0.1, 0.9), "macro_f1": Estimate(0.5, 0.1, 0.6), "ece": Estimate(math.nan)}
    combined = combine_intervals(estimates, {"accuracy": (0.4, 0.6), "macro_f1": (0.4, 0.7)})
    assert combined["accuracy"] == Estimate(0.5, 0.4, 0.6)
    assert combined["macro_f1"] == Estimate(0.5, 0.1, 0.7)
    assert math.isnan(combined["ece"].low)


def test_classes_without_photos_have_none():
    truth = np.array([0, 0, 2])
    probabilities = np.eye(3)[[0, 2, 2]]
    assert f1_intervals(truth, probabilities).keys() == {"0", "2"}
    assert math.isnan(f1_by_class(truth, probabilities)["1"])
    assert "roc_auc" not in class_intervals(np.zeros(3, int), np.eye(3)[[0, 0, 1]])
