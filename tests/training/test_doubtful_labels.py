"""Contradicted labels, planted among right ones."""

import numpy as np

from pipeline.training.doubtful_labels import (
    describe_contradicted,
    describe_twins,
    find_contradicted,
    find_contradicting_twins,
)

CLASSES = ("ok", "open", "short")


def draw_predictions(count=300, wrong=10, seed=0):
    """Return probabilities (n, 3), given labels, and the photos with a wrong one; `short` is never predicted surely."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, count)
    logits = rng.normal(0, 0.5, (count, 3))
    logits[np.arange(count), truth] += np.array([4.0, 4.0, 1.5])[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given, planted = truth.copy(), rng.choice(np.flatnonzero(truth < 2), wrong, replace=False)
    given[planted] = 1 - truth[planted]
    return probabilities, given, set(planted.tolist())


def test_planted_errors_come_first():
    probabilities, given, planted = draw_predictions()
    found = find_contradicted(probabilities, given, 10)
    assert {each.index for each in found} == planted
    margins = [each.likely - each.own for each in found]
    assert margins == sorted(margins, reverse=True)
    for each in found:
        assert (each.label_id, each.likely_id) == (given[each.index], 1 - given[each.index])


def test_right_labels_are_left_alone():
    probabilities, given, planted = draw_predictions(wrong=5)
    found = {each.index for each in find_contradicted(probabilities, given, 100)}
    assert planted <= found
    assert len(found) < 15  # a photo of an unsure class is not doubtful for a low probability alone
    assert find_contradicted(np.eye(3)[[0, 1, 2]], np.array([0, 1, 2]), 5) == []


def test_a_class_without_photos_is_never_likely():
    probabilities = np.array([[0.1, 0.0, 0.9], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    assert find_contradicted(probabilities, np.array([0, 0, 1]), 5) == []


def test_equal_photos_with_two_labels():
    features = np.random.default_rng(0).normal(size=(200, 64))
    features[7] = features[150]
    features[8] = features[151]
    labels = np.zeros(200, int)
    labels[7] = 1
    (twins,) = find_contradicting_twins(features, labels, 5)
    assert (twins.first, twins.second) == (7, 150)
    names = [f"{index}.png" for index in range(200)]
    assert describe_twins([twins], names, [CLASSES[label] for label in labels]) == [
        "7.png (open) looks the same as 150.png (ok)"
    ]
    assert find_contradicting_twins(features[:1], labels[:1], 5) == []


def test_words():
    probabilities = np.array([[0.02, 0.93, 0.05], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    found = find_contradicted(probabilities, np.array([0, 0, 1]), 1)
    assert describe_contradicted(found, ["a.png", "b.png", "c.png"], CLASSES) == [
        "a.png: labelled ok, looks like open (0.93 against 0.02)"
    ]
