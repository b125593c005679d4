"""The two thresholds, and the words for their costs, worked out by hand."""

import math

import numpy as np
import pytest

from pipeline.evaluation.band import BandCosts, Cost, choose_band
from pipeline.intervals import Estimate
from tests.helpers.decisions import make_decision

IS_DEFECT = np.array([True] * 5 + [False] * 5)
SCORE = np.array([0.95, 0.9, 0.7, 0.5, 0.25, 0.8, 0.4, 0.3, 0.2, 0.1], np.float32)


@pytest.mark.parametrize(
    ("recall", "false_alarms", "pass_below", "reject_from"),
    [
        (1, 0, 0.25, 0.9),  # all defects stay; the good photo of 0.8 must not be rejected
        (1, 0.2, 0.25, 0.5),  # one of five may be; below 0.5 comes a second one, 0.4
        (1, 0.19, 0.25, 0.9),
        (0.8, 0, 0.5, 0.9),  # one defect may escape
        (0.81, 0.4, 0.25, 0.4),
        (0.2, 0.2, 0.95, 0.95),  # reject_from alone would be 0.5: never under pass_below
        (1, 0.99, 0.25, 0.25),  # all but one good photo may be rejected
    ],
)
def test_thresholds_by_hand(recall, false_alarms, pass_below, reject_from):
    assert choose_band(IS_DEFECT, SCORE, recall, false_alarms) == (pass_below, reject_from)


def test_nothing_is_rejected_where_a_good_photo_scores_highest():
    is_defect, score = np.array([True, False, False]), np.array([0.5, 1, 0.25], np.float32)
    pass_below, reject_from = choose_band(is_defect, score, 1, 0)
    assert pass_below == 0.5
    assert 1 < reject_from < 1.0000002
    decision = make_decision(pass_below=pass_below, reject_from=reject_from)
    assert [decision.decide(value) for value in score.tolist()] == ["review", "review", "pass"]


def test_equal_scores_stay_together():
    """The good photo of 0.5 can't be told from two defects, so they aren't rejected either."""
    is_defect = np.array([True, True, True, False, False])
    score = np.array([0.9, 0.5, 0.5, 0.5, 0.1], np.float32)
    assert choose_band(is_defect, score, 0.99, 0.4) == (0.5, 0.9)
    assert choose_band(is_defect, score, 0.99, 0.5) == (0.5, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_keep_their_word_on_the_photos_of_the_choice(seed):
    rng = np.random.default_rng(seed)
    is_defect = rng.random(500) < 0.3
    score = rng.beta(np.where(is_defect, 4, 1), np.where(is_defect, 1, 4)).astype(np.float32)
    pass_below, reject_from = choose_band(is_defect, score, 0.95, 0.02)
    decision = make_decision(pass_below=pass_below, reject_from=reject_from)
    outcomes = np.array([decision.decide(value) for value in score.tolist()])
    assert (outcomes[is_defect] != "pass").mean() >= 0.95
    assert (outcomes[~is_defect] == "reject").mean() <= 0.02
    missed = np.sort(score[is_defect])[: math.floor(0.05 * is_defect.sum()) + 1].max()
    assert pass_below == pytest.approx(missed), "one more defect below it, and the recall is lost"


def test_costs_in_words():
    costs = BandCosts(
        make_decision(),
        escapes=Cost(1, 10, Estimate(0.1, 0.0025, 0.445)),
        false_alarms=Cost(0, 0, Estimate(math.nan)),
        to_review=Cost(3, 10, Estimate(0.3, 0.07, 0.65)),
    )
    assert costs.describe() == (
        "Passed below 0.2 and rejected from 0.8 on the score of class-1 (chosen on 700 validation photos, 300 of them "
        "defects): escapes 1 of 10 defects (10.00%, 95% interval 0.25% to 44.50%); false alarms unknown, without good "
        "photos; to review 3 of 10 photos (30.00%, 95% interval 7.00% to 65.00%)"
    )
    assert costs.as_json()["escapes"] == {"photos": 1, "of": 10, "value": 0.1, "low": 0.0025, "high": 0.445}
    assert costs.as_json()["false_alarms"] == {"photos": 0, "of": 0, "value": None, "low": None, "high": None}
    assert costs.as_json()["chosen_on"]["defects"] == 300
