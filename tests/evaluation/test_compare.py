"""Two models on the same photos: paired intervals, McNemar's test, and one sentence."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from pipeline.errors import DataError, StoppedError
from pipeline.evaluation.compare import ModelAnswers, compare, mcnemar_p, measure_pair, pair_photos
from pipeline.evaluation.exposure import Exposure
from pipeline.evaluation.measure import gather_scores
from pipeline.evaluation.result import PredictedPhoto
from pipeline.labelled.splits import LabelledPhoto

LABELS = ("ok", "open", "short")
NAMES = ("models/next", "models/mine")


def make_answers(truth, predicted, labels=LABELS, positive=("open", "short"), group_size=None):
    """Return the answers of a model that is 0.9 sure of each label; None: unreadable."""
    predictions = []
    for index, (label, answer) in enumerate(zip(truth, predicted, strict=True)):
        group = None if group_size is None else str(index // group_size)
        row = None
        if answer is not None:
            row = np.full(len(labels), 0.1 / (len(labels) - 1))
            row[labels.index(answer)] = 0.9
        predictions.append(PredictedPhoto(LabelledPhoto(f"{index}.png", None, label, group=group), row))
    return ModelAnswers(None, predictions, gather_scores(predictions, labels, "test", positive))


def photos_of(answers):
    return [prediction.photo for prediction in answers.predictions]


def compare_answers(first, second, *, resamples=200):
    pair = pair_photos(photos_of(first), first, second)
    return compare(pair, measure_pair(pair, resamples=resamples, seed=0), NAMES, "test", {})


@pytest.fixture
def drawn():
    """Truth of 300 photos, and the answers of a good and of a worse model."""
    random = np.random.default_rng(0)
    truth = random.choice(LABELS, 300)
    good, worse = (np.where(random.random(300) < right, truth, random.choice(LABELS, 300)) for right in (0.95, 0.7))
    return truth.tolist(), good.tolist(), worse.tolist()


def test_a_model_against_itself_has_no_difference(drawn):
    truth, good, _ = drawn
    result = compare_answers(make_answers(truth, good), make_answers(truth, good))
    assert (result.p, result.better, result.changed) == (1.0, None, ())
    for metric in result.metrics.values():
        assert metric.model == metric.against
        assert (metric.difference.value, metric.difference.low, metric.difference.high) == (0, 0, 0)
    assert "can't be told apart on 300 photos" in result.sentence
    assert "McNemar p = 1.0000" in result.sentence


def test_metrics_are_those_of_scikit_learn(drawn):
    truth, good, worse = drawn
    result = compare_answers(make_answers(truth, good), make_answers(truth, worse))
    for answers, side in ((good, "model"), (worse, "against")):
        right = np.array(truth) == answers
        is_defect, called = np.array(truth) != "ok", np.array(answers) != "ok"
        expected = {
            "accuracy": right.mean(),
            "macro_f1": f1_score(truth, answers, average="macro"),
            "any_defect_recall": called[is_defect].mean(),
            "any_defect_false_alarms": called[~is_defect].mean(),
        }
        assert {name: getattr(metric, side) for name, metric in result.metrics.items()} == pytest.approx(expected)
    for metric in result.metrics.values():
        assert metric.difference.value == pytest.approx(metric.model - metric.against)
        assert metric.difference.low < metric.difference.value < metric.difference.high


def test_the_better_model_is_named_from_either_side(drawn):
    truth, good, worse = drawn
    first, second = make_answers(truth, good), make_answers(truth, worse)
    for result, better in ((compare_answers(first, second), NAMES[0]), (compare_answers(second, first), NAMES[1])):
        assert result.better == better
        assert result.sentence.startswith(f"{better} is better than ")
        assert ": accuracy 0.9" in result.sentence
        assert "(95% interval +0." in result.sentence
    assert result.only_model_right + result.only_against_right == sum(
        (label == one) != (label == other) for label, one, other in zip(truth, good, worse, strict=True)
    )
    assert result.p == binomtest(result.only_model_right, result.only_model_right + result.only_against_right).pvalue


def test_few_photos_tell_nothing():
    result = compare_answers(make_answers(["ok"] * 4 + ["open"] * 4, ["ok"] * 4 + ["open"] * 4),
                             make_answers(["ok"] * 4 + ["open"] * 4, ["ok"] * 8))  # fmt: skip
    assert result.p == 0.125
    assert result.better is None
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_p(0, 6) == 0.03125


def test_intervals_are_wider_where_photos_come_in_groups(drawn):
    truth = [label for label in drawn[0][:60] for _ in range(5)]
    good = [label for label in drawn[1][:60] for _ in range(5)]
    worse = [label for label in drawn[2][:60] for _ in range(5)]
    by_group = compare_answers(make_answers(truth, good, group_size=5), make_answers(truth, worse), resamples=500)
    by_photo = compare_answers(make_answers(truth, good), make_answers(truth, worse), resamples=500)
    assert (by_group.resampled, by_photo.resampled) == ("groups", "photos")
    widths = [
        result.metrics["accuracy"].difference.high - result.metrics["accuracy"].difference.low
        for result in (by_group, by_photo)
    ]
    assert widths[0] > 1.5 * widths[1]


def test_changed_photos_say_who_is_right():
    truth = ["ok", "open", "short", "ok"]
    result = compare_answers(
        make_answers(truth, ["ok", "ok", "ok", "ok"]), make_answers(truth, ["open", "open", "open", "ok"])
    )
    assert [(photo.path, photo.label, photo.model, photo.against, photo.right) for photo in result.changed] == [
        ("0.png", "ok", "ok", "open", "model"),
        ("1.png", "open", "ok", "open", "against"),
        ("2.png", "short", "ok", "open", "neither"),
    ]
    assert result.changed[0].model_score == pytest.approx(0.9)


def test_other_classes_and_unreadable_photos_are_left_out_and_counted():
    truth = ["ok", "open", "ok", "ok"]
    second = make_answers(["ok", "ok"], ["ok", "scratch"], labels=("scratch", "ok"), positive=("scratch",))
    second = ModelAnswers(
        None, [PredictedPhoto(LabelledPhoto(f"{name}.png", None, "ok"), each.probabilities)
               for name, each in zip("02", second.predictions, strict=True)], second.scored,
    )  # fmt: skip
    first = make_answers(truth, ["ok", "ok", "short", "ok"])
    pair = pair_photos(photos_of(first), first, second)
    assert pair.left_out == {"label unknown to one of the models": 2}
    assert [pair.labels[index] for index in pair.predicted] == ["ok", "short"]
    assert [pair.labels[index] for index in pair.against_predicted] == ["ok", "scratch"]
    assert pair.called.tolist() == [False, True]
    unreadable = make_answers(truth, ["ok", None, "ok", None])
    assert pair_photos(photos_of(first), unreadable, first).left_out == {"unreadable": 2}
    with pytest.raises(DataError, match="no photo with a label known to both models"):
        pair_photos(photos_of(first)[1:2], first, second)


def test_without_defect_classes_or_resamples():
    answers = make_answers(["ok", "open"], ["ok", "ok"], positive=())
    result = compare_answers(answers, answers, resamples=0)
    assert set(result.metrics) == {"accuracy", "macro_f1"}
    assert "interval" not in result.sentence
    assert result.as_json()["metrics"]["accuracy"]["difference"] == {"value": 0.0, "low": None, "high": None}


def test_it_stops():
    answers = make_answers(["ok", "open"], ["ok", "ok"])
    with pytest.raises(StoppedError):
        measure_pair(pair_photos(photos_of(answers), answers, answers), resamples=5, seed=0, stop=lambda: True)


def test_exposure_in_words():
    assert (
        Exposure(0, 0, is_known=False).describe("m") == "m has no split.csv, so nobody knows the photos of its training"
    )
    assert Exposure(0, 0, is_known=True).describe("m") == "m was neither trained nor chosen on any of them"
    assert Exposure(3, 1, is_known=True).describe("m") == "m was trained on 3 of them and chosen on 1"
