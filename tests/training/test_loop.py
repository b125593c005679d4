"""The training loop alone, on pixels in memory: resumed, stopped, finished, diverged, and with its settings."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import ModelError, StoppedError
from pipeline.training.augment import Augmentation
from pipeline.training.backbone import build_classifier
from pipeline.training.checkpoints import load_newest_checkpoint
from pipeline.training.data import PhotoDataset, TrainingData
from pipeline.training.device import TrainingDevice
from pipeline.training.finetune import finetune
from pipeline.training.loop import TrainingLoop
from pipeline.training.recipe import plain_recipe
from tests.training.conftest import MemoryCache
from tests.training.marked_photos import CLASSES, save_marked_photos
from tests.training.reading_back import compute_plain_logits

PHOTOS, BATCH = 18, 4
STEPS = math.ceil(PHOTOS / BATCH)  # of an epoch
JUDGED = {"judges_start": True}  # the starting point is a candidate


def make_split(count, weight=1.0):
    """Noise, brighter for each class in turn."""
    random = np.random.default_rng(count)
    label_ids = [index % len(CLASSES) for index in range(count)]
    grey = np.array([60, 120, 180])[label_ids][:, None, None, None]
    pixels = (grey + random.normal(0, 25, (count, 3, 32, 32))).clip(0, 255).astype(np.uint8)
    return MemoryCache(pixels), range(count), label_ids, [weight] * count


@pytest.fixture
def start(settings, tiny_checkpoint, tmp_path):
    """A function to start a training in a folder, from its newest checkpoint if there is one."""

    def make(folder="work", stop=lambda training: False, weight=1.0, recipe_changes=None, **changes):
        defaults = {"epochs": 3, "batch_size": BATCH, "checkpoint_seconds": 1000, "patience": "none"}
        config = settings(**defaults | changes)
        model = build_classifier(tiny_checkpoint("vit"), CLASSES, input_size=32, blocks=None, seed=0).model
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.2  # resumed trainings must continue the random numbers too
        train = PhotoDataset(*make_split(PHOTOS, weight), 32, Augmentation(flips=True), config.seed)
        datasets = {"train": train, "validation": PhotoDataset(*make_split(9), 32)}
        mean, scale = torch.full((1, 3, 1, 1), 127.5), torch.full((1, 3, 1, 1), 1 / 127.5)
        data = TrainingData(datasets, CLASSES, mean, scale, config.batch_size, config.seed)
        work = tmp_path / folder
        work.mkdir(exist_ok=True)
        recipe = replace(plain_recipe(config), **recipe_changes or {})
        training = TrainingLoop(recipe, model, data, work, lambda: stop(training))
        training.model = model
        return training

    return make


def stop_at(*steps):
    return lambda training: training.step in steps


def assert_same_end(resumed, uninterrupted, tmp_path):
    assert resumed.step == uninterrupted.step
    assert resumed.history == uninterrupted.history
    for name, weights in uninterrupted.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weights), name
    best, expected = (load_file(tmp_path / folder / "best.safetensors") for folder in ("work", "whole"))
    assert all(torch.equal(best[name], expected[name]) for name in expected)


# Interruption


@pytest.mark.parametrize(
    "changes", [{"precision": "fp32"}, {"precision": "bf16"}, {"averaging": 0.7, "recipe_changes": JUDGED}]
)
def test_resumed_equals_uninterrupted(start, tmp_path, changes):
    whole = start("whole", **changes)
    whole.run()
    for step in (2, STEPS + 1, STEPS + 4, 2 * STEPS + 3):
        with pytest.raises(StoppedError, match=f"stopped at step {step} of {3 * STEPS}, which is saved; run the same"):
            start(stop=stop_at(step), **changes).run()
    resumed = start(**changes)
    resumed.run()
    assert_same_end(resumed, whole, tmp_path)


def test_killed_after_a_checkpoint_equals_uninterrupted(start, tmp_path):
    def kill_at(training):
        if training.step == STEPS + 3:
            raise KeyboardInterrupt
        return False

    whole = start("whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        start(stop=kill_at, checkpoint_seconds=1e-9).run()
    resumed = start()
    assert resumed.step == STEPS + 2
    resumed.run()
    assert_same_end(resumed, whole, tmp_path)


def test_resumed_from_the_end_of_an_epoch_equals_uninterrupted(start, tmp_path):
    def kill_at(training):
        if training.step == STEPS + 1:
            raise KeyboardInterrupt
        return False

    whole = start("whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        start(stop=kill_at).run()
    resumed = start()
    assert (resumed.step, len(resumed.history)) == (STEPS, 1)
    resumed.run()
    assert_same_end(resumed, whole, tmp_path)


def test_stopped_in_a_validation_repeats_it(start, tmp_path):
    """An epoch's last step gets no checkpoint: a training resumed from it would skip the validation."""
    whole = start("whole")
    whole.run()
    with pytest.raises(StoppedError, match="stopped during a validation; run the same command again to go on"):
        start(stop=stop_at(STEPS), checkpoint_seconds=1e-9).run()
    resumed = start()
    assert (resumed.step, resumed.history) == (STEPS - 1, [])
    resumed.run()
    assert_same_end(resumed, whole, tmp_path)


def test_seconds_of_all_sittings_add_up(start):
    first = start(stop=stop_at(2))
    with pytest.raises(StoppedError):
        first.run()
    second = start()
    assert second.seconds == first.seconds > 0
    second.run()
    assert second.seconds > first.seconds


def test_a_finished_training_is_not_trained_again(start):
    first = start(epochs=1)
    first.run()
    again = start(epochs=1)
    before = {name: weights.clone() for name, weights in again.model.state_dict().items()}
    again.run()
    assert (again.step, again.history, again.seconds) == (STEPS, first.history, first.seconds)
    assert all(torch.equal(weights, before[name]) for name, weights in again.model.state_dict().items())


def test_a_stalled_training_is_not_trained_again(start, caplog):
    caplog.set_level("INFO")
    rate = 1e-12  # too small to change anything
    first = start(epochs=30, learning_rate=rate, patience=2)
    first.run()
    assert len(first.history) == 3
    assert "no better validation for 2 epochs: stopping early" in caplog.text
    assert ", macro_f1 " in caplog.text
    assert "; F1: bar " in caplog.text
    again = start(epochs=30, learning_rate=rate, patience=2)
    again.run()
    assert again.step == first.step == 3 * STEPS


def test_early_stopping_ends_the_training(settings):
    result = finetune(settings(epochs=30, learning_rate=1e-12, patience=2))  # too small a rate to change anything
    assert result.epochs == 3


# The starting point as a candidate, and averaged weights


def test_a_start_that_beats_the_training_is_saved(start, tmp_path):
    """Rates far too high spoil the weights in every epoch."""
    training = start(recipe_changes=JUDGED, best_by="loss", learning_rate=1.0, warmup_share=0, epochs=2)
    before = {name: weights.clone() for name, weights in training.model.state_dict().items()}
    training.run()
    assert training.judged == [training.start, *training.history]
    assert training.start.loss < min(metrics.loss for metrics in training.history)
    best = load_file(tmp_path / "work" / "best.safetensors")
    assert all(torch.equal(weights, before[name]) for name, weights in best.items())


def test_a_training_that_beats_its_start_is_saved(start, tmp_path):
    training = start(recipe_changes=JUDGED, best_by="loss", epochs=2)
    training.run()
    assert training.history[1].loss < training.start.loss
    best = load_file(tmp_path / "work" / "best.safetensors")
    assert all(torch.equal(weights, best[name]) for name, weights in training.model.state_dict().items())


def test_the_start_is_judged_once(start, caplog):
    caplog.set_level("INFO")
    first = start(recipe_changes=JUDGED, stop=stop_at(2))
    with pytest.raises(StoppedError):
        first.run()
    second = start(recipe_changes=JUDGED)
    assert second.start == first.start
    second.run()
    assert caplog.text.count("the starting point on validation: loss ") == 1


def test_without_epochs_the_start_is_the_model(start, tmp_path):
    training = start(recipe_changes=JUDGED | {"epochs": 0})
    training.run()
    assert (training.step, training.history) == (0, [])
    best = load_file(tmp_path / "work" / "best.safetensors")
    assert all(torch.equal(weights, best[name]) for name, weights in training.model.state_dict().items())


def test_averaged_weights_are_the_decayed_mean_of_all_steps(start, tmp_path):
    """By checkpoints after each of three steps."""
    steps = []
    for step in (1, 2, 3):
        with pytest.raises(StoppedError):
            start(f"step {step}", stop=stop_at(step), averaging=0.6).run()
        steps.append(load_newest_checkpoint(tmp_path / f"step {step}"))
    for name, weights in steps[0]["model"].items():
        if weights.is_floating_point():
            expected = weights
            for later in steps[1:]:
                expected = 0.6 * expected + 0.4 * later["model"][name]
            torch.testing.assert_close(steps[2]["average"][f"module.{name}"], expected)


def test_averaged_weights_are_judged_and_saved(start, tmp_path):
    training = start(averaging=0.9, best_by="loss", epochs=1)
    training.run()
    best = load_file(tmp_path / "work" / "best.safetensors")
    average = load_newest_checkpoint(tmp_path / "work")["average"]
    assert all(torch.equal(weights, average[f"module.{name}"]) for name, weights in best.items())
    assert any(not torch.equal(weights, best[name]) for name, weights in training.model.state_dict().items())


# Divergence


def test_a_diverging_training_is_refused(settings, tmp_path):
    with pytest.raises(ModelError, match="the loss is not finite; use a lower --learning-rate"):
        finetune(settings(learning_rate=1e30, warmup_share=0))
    assert not (tmp_path / "out" / "config.json").exists()


# Settings


def test_settings_reach_the_optimizer(start, tmp_path):
    """By the checkpoint of step 3: warm-up is 5 of 14 steps."""
    changes = {"layer_decay": 0.5, "weight_decay": 0.07, "warmup_share": 0.3, "batch_size": 9, "epochs": 7}
    with pytest.raises(StoppedError, match="stopped at step 3 of 14"):
        start(stop=stop_at(3), **changes).run()
    groups = load_newest_checkpoint(tmp_path / "work")["optimizer"]["param_groups"]
    assert sorted({group["initial_lr"] for group in groups}) == [1e-3 * 0.5**depth for depth in (4, 3, 2, 1, 0)]
    assert all(group["lr"] == pytest.approx(group["initial_lr"] * 3 / 5) for group in groups)
    assert {group["weight_decay"] for group in groups} == {0, 0.07}
    assert {(group["betas"], group["eps"]) for group in groups} == {((0.9, 0.999), 1e-8)}


def test_rate_falls_to_zero_along_a_cosine(start, tmp_path):
    """A warm-up of 3 of 15 steps; half of the peak half-way from there to the end."""
    for step, share in ((3, 1), (9, 0.5)):
        with pytest.raises(StoppedError):
            start(stop=stop_at(step), warmup_share=0.2).run()
        groups = load_newest_checkpoint(tmp_path / "work")["optimizer"]["param_groups"]
        assert all(group["lr"] == pytest.approx(group["initial_lr"] * share) for group in groups)
    start(warmup_share=0.2).run()
    groups = load_newest_checkpoint(tmp_path / "work")["optimizer"]["param_groups"]
    assert {group["lr"] for group in groups} == {0}


def test_seed_decides_the_training(start):
    ends = []
    for folder, seed in (("first", 1), ("again", 1), ("other", 2)):
        training = start(folder, epochs=1, seed=seed)
        training.run()
        ends.append(training.history[0].loss)
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize(
    ("rate", "equal"), [(1e-3, False), (1e-12, True)]
)  # the second is too small to change anything
def test_label_smoothing_is_for_training_alone(start, rate, equal):
    histories = []
    for smoothing in (0.5, 0.0):
        training = start(f"smoothing {smoothing}", epochs=1, label_smoothing=smoothing, learning_rate=rate)
        training.run()
        histories.append(training.history)
    assert (histories[0] == histories[1]) == equal


def test_gradients_are_clipped_to_a_norm_of_one(start, tmp_path):
    """After the first step, Adam's mean gradient is a tenth of the clipped gradient."""
    with pytest.raises(StoppedError):
        start(stop=stop_at(1), weight=1000.0).run()
    states = load_newest_checkpoint(tmp_path / "work")["optimizer"]["state"].values()
    norm = math.sqrt(sum(float(state["exp_avg"].square().sum()) for state in states))
    assert norm == pytest.approx(0.1, rel=1e-4)


def test_fp16_skips_steps_with_overflowing_gradients(start, tmp_path, monkeypatch):
    """Only old GPUs train in fp16; a CPU computes the same, slowly. A skipped step leaves the learning rate alone."""
    monkeypatch.setattr(TrainingDevice, "choose", lambda precision: TrainingDevice("cpu", "fp16"))
    training = start(epochs=4, weight=1000.0, warmup_share=0)
    training.run()
    contents = load_newest_checkpoint(tmp_path / "work")
    taken = contents["schedule"]["last_epoch"]
    assert 0 < taken < 4 * STEPS
    assert contents["scaler"]["scale"] == 2.0**16 / 2 ** (4 * STEPS - taken)
    assert all(math.isfinite(metrics.loss) for metrics in training.history)


# Learning


def test_training_teaches(settings):
    result = finetune(settings(epochs=25, batch_size=8, learning_rate=3e-3, patience="none", crop=0, layer_decay=1))
    assert result.metrics["test"]["accuracy"] >= 0.8


def test_weights_reach_the_loss(settings, photos, tmp_path):
    """Photos of nearly no weight teach nothing: with their labels swapped, the others still decide."""
    copies = save_marked_photos(tmp_path / "copies")
    right, swapped = (photos, ("bar", "ok"), 1), (copies, ("ok", "bar"), 1e-6)
    rows = [
        f"{folder}/{shown}/{index:02d}.png,{label},{weight}"
        for folder, labels, weight in (right, swapped)
        for shown, label in zip(("bar", "ok"), labels, strict=True)
        for index in range(10)
    ]
    table = tmp_path / "weights.csv"
    table.write_text("\n".join(["path,label,weight", *rows]) + "\n")
    common = {"data": table, "epochs": 25, "batch_size": 8, "learning_rate": 3e-3, "crop": 0, "layer_decay": 1}
    finetune(settings(**common, patience="none", best_by="loss", recipe="plain"))
    files = [photos / label / f"{index:02d}.png" for label in ("bar", "ok") for index in range(10)]
    logits, _ = compute_plain_logits(tmp_path / "out", files)
    assert (logits.argmax(1) == np.repeat([0, 1], 10)).mean() >= 0.9
