"""Photos of a kind that no training photo shows."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.model.familiarity import fit_familiarity
from pipeline.training import strangers
from pipeline.training.probe import ProbeData
from pipeline.training.strangers import describe_strangers, measure_strangers

WIDTH = 24


def draw_photos(count, *, seed, strange=0):
    """Draw photos of two classes around their means; the first `strange` ones lie elsewhere."""
    rng = np.random.default_rng(seed)
    label_ids = np.arange(count) % 2
    features = rng.normal(size=(count, WIDTH)) + 6 * np.eye(WIDTH)[label_ids]
    features[:strange] += 20 * np.eye(WIDTH)[5]
    return ProbeData(features.astype(np.float32), label_ids, np.ones(count), np.arange(count))


def test_strangers_are_counted_by_split():
    train = draw_photos(400, seed=0)
    held_out = {"validation": draw_photos(200, seed=1, strange=60), "test": draw_photos(300, seed=2)}
    shares = measure_strangers(train, held_out, seed=0)
    assert shares["validation"] == pytest.approx(0.3, abs=0.03)
    assert shares["test"] < 0.04
    (sentence,) = describe_strangers(shares)
    assert sentence.startswith(f"{shares['validation']:.0%} of the validation photos are unlike all training photos")
    assert "choose a worse epoch" in sentence


def test_a_kind_that_training_knows_is_no_stranger():
    train = draw_photos(400, seed=0, strange=120)
    shares = measure_strangers(train, {"test": draw_photos(200, seed=1, strange=60)}, seed=0)
    assert describe_strangers(shares) == []


def test_groups_are_kept_aside_whole(monkeypatch):
    """Ten equal photos a group: none of those aside has a sibling among the known."""
    train = draw_photos(900, seed=0)
    siblings = np.arange(900) // 10
    train = replace(train, features=train.features[siblings], label_ids=train.label_ids[siblings], groups=siblings)
    seen = []

    def note(known, label_ids, aside):
        seen.append((len(known), len(aside), {*known[:, 0].tolist()} & {*aside[:, 0].tolist()}))
        return fit_familiarity(known, label_ids, aside)

    monkeypatch.setattr(strangers, "fit_familiarity", note)
    measure_strangers(train, {"test": draw_photos(20, seed=1)}, seed=0)
    assert seen == [(600, 300, set())]


def test_few_photos_say_nothing():
    assert measure_strangers(draw_photos(100, seed=0), {"validation": draw_photos(30, seed=1)}, seed=0) == {}
