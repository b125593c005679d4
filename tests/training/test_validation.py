"""Metrics of a validation, and their judgement."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import StoppedError
from pipeline.training.data import PhotoBatch
from pipeline.training.device import TrainingDevice
from pipeline.training.validation import (
    Metrics,
    best_epoch,
    compute_metrics,
    format_f1,
    has_stalled,
    is_best,
    measure_batches,
    weighted_losses,
)

LABELS = ("bar", "ok")
CPU = TrainingDevice("cpu", "fp32")


class Echo(nn.Module):
    """A model returning the first row of the pixels as logits."""

    def forward(self, pixel_values):
        return type("Output", (), {"logits": pixel_values[:, 0, 0]})()


def make_batch(logits, label_ids, weights):
    pixels = torch.tensor(logits).view(len(logits), 1, 1, -1)
    return PhotoBatch(pixels, torch.tensor(label_ids), torch.tensor(weights))


def history_of(metric, *values):
    return [Metrics(**{"accuracy": 0.0, "macro_f1": 0.0, "loss": 1.0} | {metric: value}) for value in values]


def test_metrics_of_known_logits():
    batches = [make_batch([[2.0, 0.0], [0.0, 1.0]], [0, 0], [1.0, 0.5]), make_batch([[0.0, 3.0]], [1], [2.0])]
    metrics = measure_batches(Echo(), LABELS, batches, CPU, lambda: False)
    losses = [math.log(1 + math.exp(-2)), 0.5 * math.log(1 + math.e), 2 * math.log(1 + math.exp(-3))]
    assert metrics.loss == pytest.approx(sum(losses) / 3)
    assert metrics.accuracy == pytest.approx(2 / 3)
    assert metrics.macro_f1 == pytest.approx(2 / 3)
    assert metrics.f1 == pytest.approx((2 / 3, 2 / 3))


def test_classes_without_photos_do_not_count():
    """As in an evaluation: a photo taken for such a class lowers the F1 of its own class alone."""
    logits = torch.eye(3)[[0, 0, 1, 2]]
    metrics = compute_metrics(logits, torch.tensor([0, 0, 1, 1]), torch.ones(4), ("bar", "dot", "ok"))
    assert metrics.f1 == (1.0, pytest.approx(2 / 3), None)
    assert metrics.macro_f1 == pytest.approx(5 / 6)


def measure_scores(good, defects, labels=("ok", "open", "short")):
    """Measure a model that gives these probabilities of "any defect" to good photos, and to defects of two kinds."""
    scores = torch.tensor([*good, *defects], dtype=torch.float64)
    shares = 0.1 + 0.8 * (torch.arange(len(scores)) % 2)  # of the first kind, now small, now large
    logits = torch.stack([1 - scores, scores * shares, scores * (1 - shares)], dim=1).log().float()
    label_ids = torch.tensor([0] * len(good) + [1 + index % 2 for index in range(len(defects))])
    return compute_metrics(logits, label_ids, torch.ones(len(label_ids)), labels)


def test_defects_found_at_few_false_alarms():
    """Of any kind, whatever it is taken for: the area under the ROC curve up to a tenth of false alarms."""
    good = [index / 100 + 0.005 for index in range(90)]
    metrics = measure_scores(good, [0.95] * 10)
    assert (metrics.defect_recall, metrics.false_alarms) == (pytest.approx(1), 0)
    metrics = measure_scores([0.005] * 50, [0.005] * 10)  # nothing is told apart: the diagonal
    assert metrics.defect_recall == pytest.approx(0.05)
    assert metrics.false_alarms == 1
    half_found = measure_scores([0.1] * 80 + [0.5] * 20, [0.9] * 5 + [0.3] * 5)
    assert half_found.defect_recall == pytest.approx(0.5)
    assert half_found.false_alarms == pytest.approx(0.2)  # the threshold of the weaker half lies under a fifth


def test_defects_are_not_measured_without_both_sides():
    for metrics in (
        measure_scores([0.1, 0.2], []),
        measure_scores([], [0.8, 0.9]),
        measure_scores([0.1], [0.9], labels=("a", "b", "c")),
        measure_scores([math.nan], [0.9]),
    ):
        assert math.isnan(metrics.defect_recall)
        assert math.isnan(metrics.false_alarms)


def test_lowest_classes_are_listed():
    metrics = Metrics(0.5, 0.5, 1.0, (0.9, None, 0.25, 1.0))
    assert format_f1(metrics, "abcd", 10) == "lowest F1: a 0.90, c 0.25, d 1.00"
    assert format_f1(metrics, "abcd", 2) == "lowest F1: a 0.90, c 0.25"
    assert format_f1(Metrics(0.5, 0.5, 1.0, (0.9, 0.25)), "ab", 2) == "F1: a 0.90, b 0.25"


def test_best_epoch_is_the_last_of_equals():
    assert best_epoch(history_of("accuracy", 0.1, 0.5, 0.5, 0.4), "accuracy") == 3
    assert best_epoch(history_of("loss", 0.5, 0.3, math.nan), "loss") == 2


def test_a_photo_without_a_finite_loss_is_left_out_of_the_mean():
    batch = make_batch([[math.nan, 0.0], [2.0, 0.0]], [0, 0], [1.0, 1.0])
    metrics = measure_batches(Echo(), LABELS, [batch], CPU, lambda: False)
    assert metrics.loss == pytest.approx(math.log(1 + math.exp(-2)))
    batch = make_batch([[math.nan, 0.0]], [0], [1.0])
    assert math.isnan(measure_batches(Echo(), LABELS, [batch], CPU, lambda: False).loss)


def test_label_smoothing():
    batch = make_batch([[2.0, 0.0]], [0], [1.0])
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    logits = batch.pixel_values[:, 0, 0]
    assert weighted_losses(logits, batch, 0.2).item() == pytest.approx(0.9 * right + 0.1 * wrong)
    assert weighted_losses(logits, batch).item() == pytest.approx(right)


def test_stop_ends_a_validation():
    batches = [make_batch([[2.0, 0.0]], [0], [1.0])] * 5
    asked = []
    with pytest.raises(StoppedError, match="stopped during a validation"):
        measure_batches(Echo(), LABELS, batches, CPU, lambda: bool(asked.append(1) or len(asked) == 2))
    assert len(asked) == 2


def test_early_stopping_waits_for_its_patience():
    scores = history_of("macro_f1", 0.5, 0.7, 0.6, 0.7)
    assert has_stalled(scores, "macro_f1", 2)
    assert not has_stalled(scores[:3], "macro_f1", 2)
    assert not has_stalled(scores, "macro_f1", None)
    assert not has_stalled([], "macro_f1", 1)
    losses = history_of("loss", 0.5, 0.3, 0.4)
    assert has_stalled(losses, "loss", 1)
    assert not has_stalled(losses[:2], "loss", 1)


def with_errors(history, metric, *errors):
    return [replace(one, errors={metric: error}) for one, error in zip(history, errors, strict=True)]


def test_of_validations_within_a_standard_error_the_longest_trained_is_best():
    recalls = with_errors(history_of("defect_recall", 0.74, 0.66, 0.71, 0.60), "defect_recall", *[0.05] * 4)
    assert best_epoch(recalls, "defect_recall") == 3
    assert [is_best(recalls[:count], "defect_recall") for count in (1, 2, 3, 4)] == [True, False, True, False]
    assert has_stalled(recalls[:3], "defect_recall", 2), "a training stops without a better one"
    losses = with_errors(history_of("loss", 0.9, 0.30, 0.33, 0.36), "loss", 0.1, 0.04, 0.04, 0.04)
    assert best_epoch(losses, "loss") == 3
    assert best_epoch(losses[:2], "loss") == 2


def test_a_starting_point_without_an_error_has_to_be_beaten_outright():
    judged = with_errors(history_of("accuracy", 0.9, 0.89, 0.88), "accuracy", 0.0, 0.05, 0.05)
    assert best_epoch(judged, "accuracy") == 1
    judged = with_errors(history_of("accuracy", 0.9, 0.91, 0.88, 0.9), "accuracy", 0.0, *[0.05] * 3)
    assert best_epoch(judged, "accuracy") == 4


def test_standard_errors_are_those_of_their_photos():
    batch = make_batch([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [1.0, 0.0]], [0, 1, 1, 0], [1.0] * 4)
    metrics = measure_batches(Echo(), LABELS, [batch], CPU, lambda: False)
    losses = [math.log(1 + math.exp(gap)) for gap in (-2, -1, 3, -1)]
    assert metrics.errors["loss"] == pytest.approx(np.std(losses) / 2)
    assert metrics.errors["accuracy"] == pytest.approx(math.sqrt(0.75 * 0.25 / 4))


def test_of_equals_the_longest_trained_is_best():
    assert is_best(history_of("accuracy", 0.5, 0.5), "accuracy")
    assert not is_best(history_of("accuracy", 0.5, 0.4), "accuracy")
    assert is_best(history_of("loss", 0.5, 0.4), "loss")
    assert not is_best(history_of("loss", 0.5, math.nan), "loss")
    assert is_best(history_of("loss", math.nan, 0.5), "loss")
