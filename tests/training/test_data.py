"""Training batches: their order, their weights, their pixels."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor

from pipeline.training.augment import Augmentation
from pipeline.training.data import PhotoDataset, TrainingData, build_dataset, build_training_data
from pipeline.training.recipe import plain_recipe
from tests.training.conftest import MemoryCache


def make_data(count=10, batch_size=4, seed=0, augmentation=None):
    """Photo i is of class i, all its pixels are i, and its weight is i / 10."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((3, 8, 8), dtype=np.uint8)
    dataset = PhotoDataset(
        MemoryCache(pixels), range(count), range(count), np.arange(count) / 10, 8, augmentation, seed
    )
    mean, scale = torch.full((1, 3, 1, 1), 2.0), torch.full((1, 3, 1, 1), 0.5)
    return TrainingData({"train": dataset, "validation": dataset}, "abcdefghij", mean, scale, batch_size, seed)


def ids_of(batches):
    return [batch.label_ids.tolist() for batch in batches]


def order_of(data, epoch):
    return [label_id for label_ids in ids_of(data.training_batches(epoch)) for label_id in label_ids]


@pytest.mark.parametrize(("choice", "times"), [("balanced", 9), ("sqrt", 3), ("none", 1)])
def test_a_class_nine_times_as_rare(settings, choice, times):
    photos = [SimpleNamespace(label=label, weight=1.0) for label in ["ok"] * 18 + ["dot"] * 2]
    split = SimpleNamespace(photos=photos, cache=None, entries=range(20))
    weights = build_dataset(plain_recipe(settings(class_weights=choice)), ("dot", "ok"), split, augmented=True).weights
    assert weights[-1] / weights[0] == pytest.approx(times)
    assert np.mean(weights) == pytest.approx(1)


def test_settings_reach_the_data(settings, tiny_checkpoint):
    config = settings(
        flips=False, quarter_turns=False, brightness=0.3, contrast=0.4, crop=0, batch_size=5, seed=11
    )  # fmt: skip
    processor = AutoImageProcessor.from_pretrained(tiny_checkpoint("vit"), backend="pil")
    split = SimpleNamespace(photos=[SimpleNamespace(label="ok", weight=1.0)] * 10, cache=None, entries=range(10))
    data = build_training_data(plain_recipe(config), ("ok",), {"train": split, "validation": split}, processor)
    assert data.datasets["train"].augmentation == Augmentation(False, False, 0.3, 0.4, 0)
    assert data.datasets["validation"].augmentation is None
    assert (data.batch_size, data.seed, data.datasets["train"].seed) == (5, 11, 11)


def test_every_epoch_has_its_own_order():
    data = make_data(count=20)
    first, second = (order_of(data, epoch) for epoch in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(20))
    assert first == order_of(data, 0)
    assert first != order_of(make_data(count=20, seed=1), 0)


def test_a_resumed_epoch_continues_with_the_same_batches():
    changes = Augmentation(brightness=0.5)
    whole = list(make_data(augmentation=changes).training_batches(3))
    rest = list(make_data(augmentation=changes).training_batches(3, first_batch=1))
    assert len(whole) == 3
    assert len(rest) == 2
    for expected, actual in zip(whole[1:], rest, strict=True):
        assert torch.equal(actual.pixel_values, expected.pixel_values)


def test_epoch_and_index_decide_the_augmentation():
    train = make_data(augmentation=Augmentation(brightness=0.5)).datasets["train"]
    first, again, other = (torch.stack([train[epoch, index].pixels for index in range(10)]) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pixels_labels_and_weights_stay_together():
    batches = [*make_data().training_batches(0), *make_data().evaluation_batches("validation")]
    for batch in batches:
        assert batch.pixel_values.shape[1:] == (3, 8, 8)
        assert torch.equal(batch.pixel_values[:, 0, 0, 0], (batch.label_ids.float() - 2) / 2)
        assert torch.allclose(batch.weights, batch.label_ids.float() / 10)


def test_evaluation_keeps_the_order_in_batches_twice_as_large():
    assert ids_of(make_data().evaluation_batches("validation")) == [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9]]


@dataclass(frozen=True)
class EpochCache:
    """Pixels that tell their epoch, as windows drawn elsewhere in each one do."""

    def read(self, index, epoch=0):
        return np.full((3, 8, 8), epoch, np.uint8)


def test_training_reads_the_windows_of_its_epoch_and_judging_always_the_same():
    dataset = PhotoDataset(EpochCache(), range(5), range(5), [1.0] * 5, 8, None, 0)
    data = TrainingData({"train": dataset, "validation": dataset}, "abcde", torch.zeros(1), torch.ones(1), 4, 0)
    for epoch in (0, 3, 7):
        assert {int(batch.pixel_values.unique()) for batch in data.training_batches(epoch)} == {epoch}
    assert {int(batch.pixel_values.unique()) for batch in data.evaluation_batches("validation")} == {0}
