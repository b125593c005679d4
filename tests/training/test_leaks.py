"""Siblings on both sides of a split: found, counted, and put into words; other data stays unsuspected."""

import numpy as np
import pytest

from pipeline.training.leaks import Leak, measure_leak
from tests.labelled.test_similar_photos import draw_families

FEATURES, FAMILIES = draw_families(100, 4)
LABELS = [("ok", "crack")[family % 2] for family in FAMILIES]
NAMES = [
    f"{label}/exp{index}_num_{family}.jpg" for index, (label, family) in enumerate(zip(LABELS, FAMILIES, strict=True))
]
NUMBERS = [f"{index}.jpg" for index in range(len(FAMILIES))]
NO_GROUPS = [None] * len(FAMILIES)


def deal(keys, seed=0):
    """Deal keys to splits by chance, equal ones to one side."""
    rng = np.random.default_rng(seed)
    side = {key: rng.choice(["train", "validation", "test"], p=[0.7, 0.15, 0.15]) for key in sorted(set(keys))}
    return [str(side[key]) for key in keys]


def test_siblings_on_both_sides_are_said_with_the_pattern_of_their_names():
    splits = deal(range(len(FAMILIES)))
    leak = measure_leak(FEATURES, LABELS, splits, NAMES, NO_GROUPS)
    is_train = np.array(splits) == "train"
    expected = np.mean([FAMILIES[row] in FAMILIES[is_train] for row in np.flatnonzero(np.array(splits) == "test")])
    assert leak.shares["test"] == pytest.approx(expected, abs=0.02)
    assert leak.is_serious
    assert leak.sentence.endswith("% of the test photos have a near-duplicate in training; these figures are too good")
    assert leak.advice.startswith("train with --group '(")
    assert leak.families == 100
    for name, sibling in leak.examples:
        assert name.rpartition("_")[2] == sibling.rpartition("_")[2]
    assert leak.examples[0][0] in leak.describe()


def test_without_a_pattern_the_advice_is_likeness():
    leak = measure_leak(FEATURES, LABELS, deal(range(len(FAMILIES))), NUMBERS, NO_GROUPS)
    assert leak.is_serious
    assert leak.pattern is None
    assert leak.advice.startswith("train with --group similar")
    assert leak.as_json()["near_duplicates_in_training"]["test"] > 0.9
    torn = measure_leak(FEATURES, LABELS, deal(range(len(FAMILIES))), NUMBERS, NUMBERS)
    assert torn.advice.startswith("the groups tear families")


def test_families_on_one_side_are_no_leak():
    leak = measure_leak(FEATURES, LABELS, deal(FAMILIES), NAMES, list(map(str, FAMILIES)))
    assert max(leak.shares.values()) < 0.03
    assert (leak.is_serious, leak.sentence, leak.advice, leak.describe()) == (False, "", "", "")


@pytest.mark.parametrize(("count", "size", "noise"), [(600, 1, 0.2), (3, 200, 1.0), (10, 60, 2.0)])
def test_other_data_is_not_suspected(count, size, noise):
    features, kinds = draw_families(count, size, noise)
    splits = deal(range(len(kinds)))
    leak = measure_leak(
        features, list(map(str, kinds)), splits, [f"{n}.png" for n in range(len(kinds))], [None] * len(kinds)
    )
    assert not leak.is_serious
    assert max(leak.shares.values()) < 0.05


def test_only_the_validation_may_leak():
    """A test split of other parts is honest: the sentence names the split that is not."""
    splits = [
        "test" if family < 20 else "train" if index % 3 else "validation" for index, family in enumerate(FAMILIES)
    ]
    leak = measure_leak(FEATURES, LABELS, splits, NUMBERS, NO_GROUPS)
    assert leak.sentence.endswith(
        "of the validation photos have a near-duplicate in training; these figures are too good"
    )


def test_too_few_photos_to_tell():
    few = slice(60)
    assert measure_leak(FEATURES[few], LABELS[few], ["train", "test"] * 30, NAMES[few], NO_GROUPS[few]) == Leak({})
