"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest

from pipeline.evaluation.metrics import (
    class_metrics,
    confusion,
    defect_metrics,
    expected_calibration_error,
    f1_by_class,
)

# Eight photos, three classes; truth and prediction differ for the third, the fifth and the eighth.
TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 1, 0, 2, 1, 2, 0])
CONFIDENCE = np.array([0.9, 0.9, 0.6, 0.7, 0.6, 0.9, 0.7, 0.6])


def probabilities():
    """Return the confidence for the predicted class, and half of the rest for each of the other two."""
    rows = np.repeat(((1 - CONFIDENCE) / 2)[:, None], 3, axis=1)
    rows[np.arange(8), PREDICTED] = CONFIDENCE
    return rows


def test_class_metrics_by_hand():
    metrics = class_metrics(TRUTH, probabilities())
    assert metrics["accuracy"] == pytest.approx(5 / 8)
    assert metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    # F1 = 2 TP / (2 TP + FP + FN): 6 / (6 + 1 + 1), 2 / (2 + 1 + 1), 2 / (2 + 1 + 1)
    assert metrics["macro_f1"] == pytest.approx((6 / 8 + 2 / 4 + 2 / 4) / 3)
    # Guo et al.: bins of 0.6, 0.7 and 0.9 hold 3, 2 and 3 photos, 0, 2 and 3 of them right
    assert metrics["ece"] == pytest.approx((3 * 0.6 + 2 * 0.3 + 3 * 0.1) / 8)


def test_ranking_metrics_by_hand():
    truth, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    metrics = class_metrics(truth, np.stack([1 - score, score], axis=1))
    assert metrics["roc_auc"] == pytest.approx(3 / 4)  # of four pairs, one is the wrong way round, for either class
    # class 1 is found at ranks 1 and 3, class 0 at ranks 1 and 3 of the other order
    assert metrics["average_precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_f1_by_class_by_hand():
    assert f1_by_class(TRUTH, probabilities()) == pytest.approx({"0": 6 / 8, "1": 2 / 4, "2": 2 / 4})


def test_a_class_without_photos_is_undefined_and_does_not_count():
    truth, chances = TRUTH[:6], probabilities()[:6]
    assert math.isnan(f1_by_class(truth, chances)["2"])
    assert class_metrics(truth, chances)["macro_f1"] == pytest.approx((6 / 7 + 2 / 4) / 2)


def test_only_one_class_leaves_ranking_undefined():
    metrics = class_metrics(TRUTH[:4], probabilities()[:4])
    assert metrics["accuracy"] == pytest.approx(3 / 4)
    assert math.isnan(metrics["roc_auc"])


def test_calibration_error_at_the_edges():
    assert expected_calibration_error(np.array([True, True]), np.array([1.0, 1.0])) == 0
    # 0.2 is the edge of two of the fifteen bins; both libraries must put it into the same one
    assert expected_calibration_error(np.array([True, False]), np.array([0.2, 0.21])) == pytest.approx((0.8 + 0.21) / 2)


def test_confusion_has_the_truth_in_rows():
    assert confusion(TRUTH, PREDICTED, 3).tolist() == [[3, 1, 0], [0, 1, 1], [1, 0, 1]]


IS_DEFECT = np.array([True, True, True, True, False, False, False, False])
SCORE = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.3, 0.2, 0.1])


def test_defect_metrics_by_hand():
    metrics = defect_metrics(IS_DEFECT, SCORE)
    assert metrics["recall"] == 3 / 4
    assert metrics["precision"] == 3 / 4
    assert metrics["false_alarms"] == 1 / 4
    assert metrics["f1"] == 3 / 4
    assert metrics["roc_auc"] == pytest.approx((4 + 4 + 3 + 1.5) / 16)
