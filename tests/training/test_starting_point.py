"""The starting point: its depth, its head, harmless changes of orientation, and the photos behind them."""

import shutil

import numpy as np
import pytest
import torch

from pipeline.labelled.splits import LabelledPhoto
from pipeline.training.augment import Augmentation
from pipeline.training.backbone import build_classifier
from pipeline.training.data import PhotoDataset, TrainingData
from pipeline.training.probe import Probe
from pipeline.training.recipe import plain_recipe
from pipeline.training.starting_point import Embedder, find_starting_point
from tests.training.conftest import MemoryCache

SIDE = 48


def draw_bars(classes, count=30, seed=0):
    """Draw dark bars: `left` and `right` differ by a mirror, `upright` and `flat` by a turn; another class has none."""
    rng = np.random.default_rng(seed)
    label_ids = [index % len(classes) for index in range(count)]
    pixels = np.full((count, 3, SIDE, SIDE), 190.0)
    for photo, label_id in zip(pixels, label_ids, strict=True):
        width, middle = rng.integers(8, 12), SIDE // 2
        parts = {
            "left": np.s_[:, :, : 2 * width],
            "right": np.s_[:, :, -2 * width :],
            "upright": np.s_[:, :, middle - width : middle + width],
            "flat": np.s_[:, middle - width : middle + width],
        }
        if classes[label_id] in parts:
            photo[parts[classes[label_id]]] = 40
    pixels += rng.normal(0, 10, pixels.shape)
    return MemoryCache(pixels.clip(0, 255).astype(np.uint8)), range(count), label_ids, [1.0] * count


@pytest.fixture
def prepare_start(settings, tiny_checkpoint):
    """A function to find the starting point for two or more classes of bars."""

    def prepare(classes, folder=None, **changes):
        config = settings(input_size=SIDE, recipe="auto", **changes)
        recipe = plain_recipe(config)
        splits = {"train": draw_bars(classes), "validation": draw_bars(classes, count=16, seed=1)}
        datasets = {split: PhotoDataset(*drawn, SIDE, Augmentation(), 0) for split, drawn in splits.items()}
        mean, scale = torch.full((1, 3, 1, 1), 127.5), torch.full((1, 3, 1, 1), 1 / 127.5)
        data = TrainingData(datasets, classes, mean, scale, config.batch_size, config.seed)
        photos = {
            split: [LabelledPhoto(f"{split}-{index}", None, classes[label], split=split) for index, label in pairs]
            for split, pairs in ((split, enumerate(dataset.label_ids)) for split, dataset in datasets.items())
        }
        embedder = Embedder(recipe, data, photos, 1000, lambda: False)

        def build(chosen):
            start = folder or tiny_checkpoint("vit")
            return build_classifier(start, classes, input_size=SIDE, blocks=chosen.blocks, seed=0)

        return find_starting_point(config, recipe, build(recipe), embedder, build)

    return prepare


@pytest.mark.parametrize(
    ("classes", "flips", "quarter_turns"),
    [
        (("left", "right"), False, False),  # what turned copies are learnt with, mirrored ones contradict already
        (("upright", "flat"), True, False),
        (("left", "none"), True, True),
    ],
)
def test_changes_of_orientation_that_swap_classes_are_off(prepare_start, caplog, classes, flips, quarter_turns):
    caplog.set_level("INFO")
    recipe = prepare_start(classes).recipe
    assert (recipe.flips, recipe.quarter_turns) == (flips, quarter_turns)
    assert ("learning turned copies harms a probe: its loss goes from 0." in caplog.text) == (not quarter_turns)
    assert ("learning mirrored copies harms a probe" in caplog.text) == (not flips)


def test_given_changes_of_orientation_stay(prepare_start):
    assert prepare_start(("left", "right"), flips=True, quarter_turns=True).recipe.flips
    assert not prepare_start(("left", "none"), flips=False).recipe.flips


def test_the_head_is_the_probe_of_the_chosen_depth(prepare_start, caplog):
    caplog.set_level("INFO")
    start = prepare_start(("left", "none"))
    depth = start.classifier.blocks
    assert depth == start.recipe.blocks
    assert depth in (2, 3)
    assert "loss of a linear probe by number of blocks: 2: " in caplog.text
    for split in (start.train, start.validation):
        assert split.data.features.shape == (len(split.photos), 32)
    predicted = Probe.read(start.classifier.model).logits(start.validation.data.features).argmax(1)
    assert (predicted == start.validation.data.label_ids).mean() == 1


@pytest.mark.parametrize(
    ("changes", "depths"), [({}, "23"), ({"train_blocks": 3}, "3"), ({"blocks": 1}, "1"), ({"blocks": "all"}, "3")]
)
def test_depths_leave_the_blocks_asked_for(prepare_start, changes, depths):
    assert str(prepare_start(("left", "none"), **changes).classifier.blocks) in depths


@pytest.mark.parametrize("name", ["vit", "deit_with_teacher"])
def test_a_better_head_of_the_starting_model_stays(prepare_start, tiny_checkpoint, tmp_path, caplog, name):
    """Also one of two heads; a worse one is replaced."""
    caplog.set_level("INFO")
    classes, start = ("left", "none"), tiny_checkpoint(name)
    model = prepare_start(classes, start, blocks="all").classifier.model
    fitted = Probe.read(model)
    for folder, factor in (("better", 3), ("worse", -1)):  # surer, and the wrong way round
        Probe(factor * fitted.weight, factor * fitted.bias).install(model)
        model.save_pretrained(tmp_path / folder)
        shutil.copy(start / "preprocessor_config.json", tmp_path / folder)
    better, worse = (
        Probe.read(prepare_start(classes, tmp_path / folder).classifier.model).weight for folder in ("better", "worse")
    )
    np.testing.assert_allclose(better, 3 * fitted.weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(worse, fitted.weight, rtol=0.1, atol=0.01)
    assert "the starting model's own head: validation loss" in caplog.text


def test_rare_classes_are_embedded_in_full(settings):
    """Of 300 photos, 50 are chosen at most, and all 3 of the rare class."""
    label_ids = [1 if index in (7, 100, 250) else 0 for index in range(300)]
    cache = MemoryCache(np.zeros((300, 3, SIDE, SIDE), np.uint8))
    dataset = PhotoDataset(cache, range(300), label_ids, [1.0] * 300, SIDE)
    data = TrainingData({"train": dataset}, ("ok", "hole"), torch.zeros(1), torch.ones(1), 16, 0)
    photos = [LabelledPhoto(str(index), None, "ok", group="g" if index % 2 else None) for index in range(300)]
    embedder = Embedder(plain_recipe(settings()), data, {"train": photos}, 50, lambda: False)
    rows = embedder._chosen["train"]
    assert {7, 100, 250} <= set(rows)
    assert 50 <= len(rows) <= 53
    assert rows == sorted(rows)
