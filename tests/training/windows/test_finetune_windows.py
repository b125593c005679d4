"""Fine-tuning on windows as a whole: the saved model, its split, and a training interrupted and resumed."""

import json
import signal

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import DataError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.labelled.read import read_labelled_photos
from pipeline.training.finetune import finetune
from tests.helpers.boxed_photos import save_boxed_photos
from tests.helpers.commands import run_vitrollout
from tests.helpers.models import save_tiny_vit
from tests.training.test_finetune import OPTIONS, arguments_of, send_signal_at
from tests.training.windows.conftest import SIDE


def read_config(model):
    return json.loads((model / "config.json").read_text())


@pytest.fixture(scope="module")
def arguments(boxes_csv, tiny_checkpoint, tmp_path_factory):
    """The command of a training on windows, half of the clear ones hard."""
    out = tmp_path_factory.mktemp("windows") / "model"
    words = arguments_of(boxes_csv, tiny_checkpoint("vit"), out)
    return [*words, "--tile", SIDE, "--hard-negatives"], out


@pytest.fixture(scope="module")
def resumed(arguments):
    """A model trained on windows by the command, ended by SIGINT and SIGKILL, then finished."""
    command, out = arguments
    sittings = [
        send_signal_at("step 2 of", signal.SIGINT, command),
        send_signal_at("step 5 of", signal.SIGKILL, command),
    ]
    last = run_vitrollout(*command)
    assert [code for code, _ in sittings] == [130, -9], sittings
    assert last.returncode == 0, last.stderr
    assert "going on from step" in last.stderr
    return out, json.loads(last.stdout.splitlines()[-1])


def test_interrupted_and_resumed_is_the_same_as_never_stopped(resumed, boxes_csv, settings, tmp_path):
    finetune(settings(data=boxes_csv, tile=SIDE, hard_negatives=True, **OPTIONS))
    actual, expected = (load_file(model / "model.safetensors") for model in (resumed[0], tmp_path / "out"))
    assert actual.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(actual[name], weights, rtol=1e-4, atol=1e-6, msg=name)


def test_hard_negatives_change_the_training(resumed, boxes_csv, settings, tmp_path):
    finetune(settings(data=boxes_csv, tile=SIDE, **OPTIONS))
    hard, plain = (load_file(model / "model.safetensors") for model in (resumed[0], tmp_path / "out"))
    assert any(not torch.allclose(hard[name], weights, rtol=1e-3, atol=1e-5) for name, weights in plain.items())


def test_the_model_names_its_windows_and_one_for_whole_photos_does_not(resumed, photos, settings, tmp_path):
    model, _ = resumed
    assert read_config(model)["vitrollout_tile"] == SIDE
    finetune(settings(model=str(model)))
    assert "vitrollout_tile" not in read_config(tmp_path / "out")


def test_the_split_is_of_whole_photos_with_their_boxes(resumed, boxed):
    model, summary = resumed
    photos = read_labelled_photos(model / "split.csv")
    known = {photo.name: photo for photo in boxed}
    assert len(photos) == len({photo.name for photo in photos})
    for photo in photos:
        assert (photo.label, photo.boxes) == (known[photo.name].label, known[photo.name].boxes)
        assert photo.file.samefile(known[photo.name].file)
    assert {photo.split for photo in photos} == {"train", "validation", "test"}
    assert {photo.name for photo in photos} == set(known)
    assert sum(summary["photos"].values()) == 24  # windows


def test_the_model_is_evaluated_on_the_photos_held_out_in_its_windows(resumed, tmp_path, caplog):
    caplog.set_level("INFO")
    model, _ = resumed
    found = evaluate(EvaluateConfig(data=model / "split.csv", model=str(model), out=tmp_path / "e", resamples=2))
    assert f"tile = {SIDE}: the model learned from windows of this size" in caplog.text
    table = pd.read_csv(model / "split.csv").query("split == 'test'")
    assert len(found.truth) == table["path"].nunique()
    assert found.detections.boxes == table["x0"].notna().sum()


def test_a_model_without_a_good_class_finds_no_hard_negatives(boxes_csv, tmp_path):
    command = ["finetune", boxes_csv, "--model", save_tiny_vit(tmp_path / "start"), "--out", tmp_path / "out"]
    done = run_vitrollout(*command, "--tile", SIDE, "--hard-negatives", "--epochs", 1, "--input-size", 32)
    assert done.returncode == 2
    assert "hard_negatives: the starting model has no class called ok" in done.stderr
    assert "Traceback" not in done.stderr


def test_windows_need_boxes(settings):
    with pytest.raises(DataError, match=f"tile = {SIDE}: no photo has a box that fits into a window"):
        finetune(settings(tile=SIDE))


def test_groups_of_photos_keep_their_windows_together(settings, tmp_path):
    """Photos of one part, and all their windows, are on one side."""
    file = save_boxed_photos(tmp_path / "photos", 12)
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table["part"] = table["path"].str[:2].astype(int) // 2
    table.to_csv(file, index=False)
    finetune(settings(data=file, tile=SIDE, group="column:part"))
    split = pd.read_csv(tmp_path / "out" / "split.csv", dtype=str)
    assert (split.groupby("group")["split"].nunique() == 1).all()
    assert split["group"].nunique() == 6
    assert set(split["split"]) == {"train", "validation", "test"}
