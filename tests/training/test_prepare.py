"""The automatic recipe as a whole: interrupted at any time, resumed, and with classes without photos."""

import json
import signal
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from pipeline.labelled.read import read_labelled_photos
from pipeline.labelled.splits import assign_splits
from pipeline.training.choose_recipe import Budget
from pipeline.training.folders import TrainingFolders
from pipeline.training.pixel_cache import decode_splits
from pipeline.training.prepare import TrainingPreparation
from pipeline.training.recipe import read_recipe
from tests.helpers.commands import run_vitrollout
from tests.training.marked_photos import CLASSES
from tests.training.test_finetune import send_signal_at

OPTIONS = ["--input-size", "32", "--epochs", "2", "--minutes", "none", "--precision", "fp32", "--batch-size", "4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_during_the_probe_and_resumed(photos, tiny_checkpoint, tmp_path, number):
    def arguments_for(out):
        return ["finetune", str(photos), "--model", str(tiny_checkpoint("vit")), "--out", str(out), *OPTIONS]

    out, whole = tmp_path / "out", tmp_path / "whole"
    code, said = send_signal_at("recipe: best_by", number, arguments_for(out))
    assert code == (130 if number == signal.SIGINT else -9)
    assert "Traceback" not in said
    if number == signal.SIGINT:
        assert said.splitlines()[-1].endswith("stopped before the training; run the same command again to go on")
    assert read_recipe(out / ".finetune") is None
    resumed, uninterrupted = (run_vitrollout(*arguments_for(folder)) for folder in (out, whole))
    assert resumed.returncode == uninterrupted.returncode == 0, resumed.stderr
    assert "decoded" not in resumed.stderr  # the pixels are there
    summaries = [json.loads(done.stdout.splitlines()[-1]) for done in (resumed, uninterrupted)]
    assert summaries[0]["advice"] == summaries[1]["advice"]
    actual, expected = (load_file(folder / "model.safetensors") for folder in (out, whole))
    for name, weights in expected.items():
        torch.testing.assert_close(actual[name], weights, rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture
def prepare(settings, photos, tiny_checkpoint, tmp_path):
    """A function to prepare a training in a folder; a second call resumes it."""

    def make(labels=CLASSES, minutes=None, check=lambda splits: None, **changes):
        given = {"input_size": 32, "precision": "fp32"} | changes
        config = settings(recipe="auto", **{"epochs": "auto", "learning_rate": "auto"} | given)
        dealt = assign_splits(read_labelled_photos(photos), validation_share=0.15, test_share=0.15, seed=0)
        (tmp_path / "work").mkdir(exist_ok=True)
        folders = TrainingFolders(tiny_checkpoint("vit"), tmp_path / "work", lambda: False)
        decode = partial(decode_splits, dealt, work=folders.work, stop=folders.stop)
        return TrainingPreparation(config, labels, folders, Budget(minutes)).prepare(dealt, decode, check)

    return make


def test_a_resumed_training_keeps_recipe_weights_and_findings(prepare, caplog):
    caplog.set_level("INFO")
    first = prepare(minutes=60, train_blocks=1)
    assert first.recipe.judges_start
    assert first.findings.leak is not None
    caplog.clear()
    again = prepare(minutes=0.001, train_blocks=1)  # no time: chosen now, there would be no epochs
    assert "recipe:" not in caplog.text
    assert (again.recipe, again.findings) == (first.recipe, first.findings)
    assert again.classifier.blocks == first.classifier.blocks == first.recipe.blocks
    weights = first.classifier.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in again.classifier.model.state_dict().items())
    trained = [
        {name for name, weight in ready.classifier.model.named_parameters() if weight.requires_grad}
        for ready in (first, again)
    ]
    assert trained[0] == trained[1] != set(weights)


def test_a_class_without_photos_needs_no_probe(prepare):
    """As in a results folder without photos of a known class; without time the starting model is the model."""
    ready = prepare([*CLASSES, "unseen"], minutes=1e-6)
    assert (ready.recipe.epochs, ready.recipe.judges_start) == (0, True)
    assert ready.classifier.labels == (*CLASSES, "unseen")


def test_unsuitable_splits_are_refused_before_the_probe(prepare, caplog):
    def refuse(splits):
        raise ValueError(sorted(splits))

    caplog.set_level("INFO")
    with pytest.raises(ValueError, match="'test', 'train', 'validation'"):
        prepare(check=refuse)
    assert "linear probe" not in caplog.text
