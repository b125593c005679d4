"""The threshold for a recall, and what it does on photos it was not chosen on."""

import numpy as np
import pytest

from pipeline.evaluation.threshold import choose_threshold

IS_DEFECT = np.array([True, True, True, True, False, False, False, False])
SCORE = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.3, 0.2, 0.1])


@pytest.mark.parametrize(
    ("wanted_recall", "threshold", "recall", "precision", "false_alarms"),
    [(0.5, 0.8, 0.5, 1, 0), (0.51, 0.6, 0.75, 0.75, 0.25), (0.99, 0.2, 1, 4 / 7, 0.75), (1, 0.2, 1, 4 / 7, 0.75)],
)
def test_threshold_is_the_highest_with_the_recall(wanted_recall, threshold, recall, precision, false_alarms):
    chosen = choose_threshold(IS_DEFECT, SCORE, wanted_recall, seed=0)
    assert (chosen.threshold, chosen.recall, chosen.false_alarms) == (threshold, recall, false_alarms)
    assert chosen.precision == pytest.approx(precision)


def test_threshold_needs_both_kinds():
    assert choose_threshold(np.ones(4, dtype=bool), SCORE[:4], 0.9, seed=0) is None


def test_other_photos_judge_the_choice():
    """Scores that tell nothing: nearly all good photos are called defects, on other photos too."""
    rng = np.random.default_rng(5)
    is_defect, score = np.arange(400) < 40, rng.normal(size=400)
    chosen = choose_threshold(is_defect, score, 0.95, seed=0)
    others = chosen.on_other_photos
    assert chosen.recall == 0.95
    assert others.folds == 10
    assert others.recall.low <= others.recall.value <= others.recall.high
    assert 0.8 < others.false_alarms.value <= 1


def test_leave_one_out_by_hand():
    """The worst defect of four has nothing below it in the other three: it alone is missed."""
    is_defect = np.array([True] * 4 + [False] * 4)
    others = choose_threshold(
        is_defect, np.array([0.9, 0.8, 0.7, 0.3, 0.6, 0.4, 0.2, 0.1]), 1.0, seed=1
    ).on_other_photos
    assert others.folds == 4
    assert others.recall.value == 0.75
    assert (others.false_alarms.value, others.precision.value) in ((0.5, 3 / 5), (0.25, 3 / 4), (0.0, 1.0))


@pytest.mark.parametrize("defects", [1, 0])
def test_too_few_to_leave_one_out(defects):
    chosen = choose_threshold(np.arange(5) < defects, np.linspace(0.9, 0.1, 5), 0.9, seed=0)
    assert chosen is None if not defects else chosen.on_other_photos is None


@pytest.mark.parametrize(
    ("defects", "recall", "words"),
    [
        (59, 0.99, "0.99 is more than 59 defects can show: even if all are found, it may be as low as 0.950"),
        (298, 0.99, "299 are needed"),
        (299, 0.99, None),
        (30, 0.9, None),
        (28, 0.9, "29 are needed"),
        (1000, 1.0, "no number of defects shows a recall of 1"),
    ],
)
def test_recall_beyond_what_the_defects_show(defects, recall, words):
    is_defect = np.arange(defects + 3) >= 3
    chosen = choose_threshold(is_defect, np.where(is_defect, 0.9, 0.1), recall, seed=0)
    assert words is None if chosen.caution is None else words in chosen.caution
    assert chosen.as_json()["on_other_photos"]["recall"]["value"] == 1
