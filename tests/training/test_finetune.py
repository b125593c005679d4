"""Fine-tuning as a whole: interrupted and resumed as real processes, the saved model, and refusals."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import DataError, ModelError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.results.read import read_results
from pipeline.training.config import FinetuneConfig
from pipeline.training.finetune import finetune
from tests.helpers.commands import run_fresh_vitrollout, run_vitrollout, start_vitrollout
from tests.training.marked_photos import CLASSES, save_marked_photos
from tests.training.reading_back import compute_plain_logits, compute_run_logits

# Interruption and resume

OPTIONS = {"input_size": 32, "epochs": 4, "batch_size": 4, "precision": "fp32", "learning_rate": 1e-3}


def arguments_of(photos, model, out):
    options = [word for name, value in OPTIONS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    places = ["finetune", str(photos), "--model", str(model), "--out", str(out)]
    return [*places, *options, "--checkpoint-seconds", "0.001"]


def send_signal_at(words, number, arguments):
    """Run the command, send it a signal as soon as it logs these words; return its exit code and its log."""
    process = start_vitrollout(*arguments)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            process.send_signal(number)
            break
    output, errors = process.communicate()
    assert output == "", "it went on to the end"
    return process.returncode, "".join(lines) + errors


@pytest.fixture(scope="module")
def resumed(photos, tiny_checkpoint, tmp_path_factory):
    """A model trained in four sittings by the command: ended by SIGINT, SIGTERM and SIGKILL, then finished."""
    out = tmp_path_factory.mktemp("resumed") / "model"
    arguments = arguments_of(photos, tiny_checkpoint("vit"), out)
    sittings = [
        send_signal_at("step 2 of", signal.SIGINT, arguments),
        send_signal_at("step 5 of", signal.SIGTERM, arguments),
        send_signal_at("step 9 of", signal.SIGKILL, arguments),
    ]
    (out / ".finetune" / ("0f" * 16)).write_bytes(b"half")  # as a kill in the middle of saving leaves it
    last = run_vitrollout(*arguments)
    return SimpleNamespace(out=out, sittings=sittings, last=last)


def test_interrupted_killed_and_resumed_is_the_same_as_never_stopped(resumed, photos, tiny_checkpoint, tmp_path):
    assert [code for code, _ in resumed.sittings] == [130, 143, -9], resumed.sittings
    for _, said in resumed.sittings[:2]:
        assert said.splitlines()[-1].endswith("which is saved; run the same command to go on")
        assert "Traceback" not in said
    assert resumed.last.returncode == 0, resumed.last.stderr
    for said in (*(said for _, said in resumed.sittings[1:]), resumed.last.stderr):
        assert "going on from step" in said
    assert json.loads(resumed.last.stdout.splitlines()[-1])["epochs"] == 4
    assert not (resumed.out / ".finetune").exists()

    finetune(FinetuneConfig(data=photos, model=str(tiny_checkpoint("vit")), out=tmp_path / "whole", **OPTIONS))
    actual, expected = (load_file(folder / "model.safetensors") for folder in (resumed.out, tmp_path / "whole"))
    assert actual.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(actual[name], weights, rtol=1e-4, atol=1e-6, msg=name)


def test_from_interrupted_training_to_results(resumed, photos, tmp_path):
    """Measure the resumed model on the photos held out, and run it: by the commands alone."""
    evaluation, results = tmp_path / "evaluation", tmp_path / "results"
    model = ["--model", str(resumed.out)]
    commands = {
        "evaluate": run_vitrollout("evaluate", photos, *model, "--out", evaluation, "--resamples", "10"),
        "run": run_vitrollout("run", photos, *model, "--out", results),
    }
    for done in commands.values():
        assert done.returncode == 0, done.stderr
    said = {name: json.loads(done.stdout.splitlines()[-1]) for name, done in commands.items()}
    trained = json.loads(resumed.last.stdout.splitlines()[-1])["photos"]
    held_out = pd.read_csv(resumed.out / "split.csv").query("split == 'test'")
    assert said["evaluate"]["split"] == "test, by the model's split.csv"
    assert said["evaluate"]["photos"] == len(held_out) == trained["test"]
    predicted = pd.read_parquet(evaluation / "predictions.parquet").set_index("path")
    assert sorted(predicted.index) == sorted(held_out["path"])
    table = read_results(results).set_index("path")
    assert len(table) == said["run"]["ok"] == sum(trained.values())
    assert (table.loc[predicted.index, "label"].astype(str) == predicted["predicted"]).all()


def test_a_full_disk_is_one_line_and_the_training_goes_on(photos, tiny_checkpoint, tmp_path):
    """A limit on the size of files stands for the disk: the pixels and the best weights fit, a checkpoint does not."""
    arguments = arguments_of(photos, tiny_checkpoint("vit"), tmp_path / "out")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (260 * 1024, 260 * 1024))

    full = run_fresh_vitrollout(*arguments, preexec_fn=limit)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith(f"vitrollout: can't write {tmp_path / 'out' / '.finetune'}")
    assert "Traceback" not in full.stderr
    finetune(FinetuneConfig(data=photos, model=str(tiny_checkpoint("vit")), out=tmp_path / "out", **OPTIONS))
    assert (tmp_path / "out" / "config.json").is_file()


# The folder of the model


def test_other_files_in_the_folder_stay(finished):
    """Nothing in --out but the training's own folder may be cleared."""
    assert (finished.out / "work" / "checkpoint-1").is_dir()
    assert not (finished.out / ".finetune").exists()


def test_files_are_readable_for_everybody(finished):
    files = [file for file in finished.out.iterdir() if file.is_file()]
    assert {
        "config.json",
        "familiarity.safetensors",
        "map_scale.json",
        "model.safetensors",
        "preprocessor_config.json",
        "README.md",
        "split.csv",
        "training.png",
    } == {file.name for file in files}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}


def test_purpose_is_not_inherited(finished, settings, tmp_path):
    assert resolve_checkpoint(str(finished.out)).purpose == "tells marks apart"
    finetune(settings(model=str(finished.out), out=tmp_path / "next"))
    assert resolve_checkpoint(str(tmp_path / "next")).purpose == "3 classes (bar, dot, ok)"


def test_overwritten_where_asked(settings, finished, tmp_path):
    shutil.copytree(finished.out, tmp_path / "out")
    finetune(settings(seed=1, overwrite=True))
    before, after = ((folder / "model.safetensors").read_bytes() for folder in (finished.out, tmp_path / "out"))
    assert before != after


def test_saved_model_gives_the_same_numbers_everywhere(settings, photos, tmp_path):
    result = finetune(settings(epochs=3, save_dtype="fp16", notes=None))
    table = pd.read_csv(tmp_path / "out" / "split.csv")
    assert table.columns.tolist() == ["path", "label", "split", "root"]
    assert table.groupby("split").size().to_dict() == {"test": 6, "train": 18, "validation": 6}
    chosen = table[table["split"] == "test"]
    logits, config = compute_plain_logits(tmp_path / "out", [photos / name for name in chosen["path"]])
    assert tuple(config.id2label.values()) == CLASSES == result.labels
    truth = torch.tensor([config.label2id[label] for label in chosen["label"]])
    assert (logits.argmax(1) == truth.numpy()).mean() == pytest.approx(result.metrics["test"]["accuracy"])
    assert compute_run_logits(tmp_path / "out", photos, tmp_path / "run", chosen["path"]) == pytest.approx(
        logits, abs=1e-4
    )


def test_preprocessing_without_normalisation_is_the_same_in_a_run(settings, tiny_checkpoint, photos, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(tiny_checkpoint("vit"), start)
    file = start / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"do_normalize": False, "image_mean": None}))
    result = finetune(settings(model=str(start)))
    measured = evaluate(
        EvaluateConfig(data=photos, model=str(tmp_path / "out"), out=tmp_path / "e", precision="fp32", resamples=0)
    )
    of_truth = measured.probabilities[np.arange(len(measured.truth)), measured.truth]
    assert -np.log(of_truth).mean() == pytest.approx(result.metrics["test"]["loss"], rel=1e-4)


def test_evaluate_measures_the_same(settings, photos, tmp_path):
    """In the machine's own precision: under autocast, some photos between two classes would change sides."""
    result = finetune(settings(precision="auto", epochs=2))
    config = {"data": photos, "model": str(tmp_path / "out"), "resamples": 0}
    for split in ("test", "validation"):
        measured = evaluate(EvaluateConfig(out=tmp_path / "e", split=split, **config))
        of_truth = measured.probabilities[np.arange(len(measured.truth)), measured.truth]
        assert -np.log(of_truth).mean() == pytest.approx(result.metrics[split]["loss"], rel=1e-6)
        assert {label: f1.value for label, f1 in measured.f1.items()} == pytest.approx(result.f1[split])
        for name in ("accuracy", "macro_f1"):
            assert measured.metrics[name].value == result.metrics[split][name]


# The split as a data set


def test_split_csv_is_a_data_set(finished, settings, photos, tmp_path):
    """For evaluate and finetune, and from a model trained on a split.csv too."""
    common = {"workers": 1, "resamples": 0}
    split = finished.out / "split.csv"
    measured = evaluate(EvaluateConfig(data=split, model=str(finished.out), out=tmp_path / "e", **common))
    again = evaluate(EvaluateConfig(data=photos, model=str(finished.out), out=tmp_path / "f", **common))
    assert (measured.split, again.split) == ("test, by the data", "test, by the model's split.csv")
    assert measured.metrics["accuracy"] == again.metrics["accuracy"]
    assert finetune(settings(data=split)).counts == finished.result.counts
    next_split = pd.read_csv(tmp_path / "out" / "split.csv")
    assert next_split["path"].tolist() == pd.read_csv(split)["path"].tolist()
    assert (tmp_path / "out" / next_split["root"][0]).resolve() == photos


def test_split_csv_without_its_photos_is_refused(finished, settings, tmp_path):
    carried = tmp_path / "far" / "away"
    carried.mkdir(parents=True)
    shutil.copy(finished.out / "split.csv", carried)
    with pytest.raises(DataError, match=f"no such file .relative paths start at {carried}"):
        finetune(settings(data=carried / "split.csv"))


# Photos


@pytest.mark.parametrize(("test_share", "split"), [(0.15, "test"), (0, None)])
def test_classes_with_few_photos_are_named(settings, tmp_path, caplog, test_share, split):
    photos = save_marked_photos(tmp_path / "photos", count=12)
    for file in sorted((photos / "dot").iterdir())[2:]:
        file.unlink()
    result = finetune(settings(data=photos, test_share=test_share))
    assert result.untested == (["dot"] if split else [])
    assert "few photos of 'dot' (2): too few to learn from" in caplog.text
    assert ("no photo of 'dot' is in the test split, so its figures say nothing of them" in caplog.text) == bool(split)
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("**The test split has no photo of dot**: its figures say nothing of this class." in card) == bool(split)


def test_unreadable_photos_are_named_and_left_out(settings, tmp_path, caplog):
    photos = save_marked_photos(tmp_path / "photos")
    (photos / "ok" / "03.png").write_bytes(b"broken")
    (photos / "dot" / "gone.png").symlink_to("nowhere")
    caplog.set_level("WARNING")
    result = finetune(settings(data=photos))
    assert result.unreadable == 2
    assert "left out ok/03.png: not an image of a supported format" in caplog.text
    assert "left out dot/gone.png" in caplog.text
    named = pd.read_csv(tmp_path / "out" / "split.csv")["path"].tolist()
    assert not {"ok/03.png", "dot/gone.png"} & set(named)
    assert sum(sum(per_label.values()) for per_label in result.counts.values()) == len(named) == 29


def test_dangling_link_is_left_out(settings, tmp_path, caplog):
    marked = save_marked_photos(tmp_path / "marked")
    (marked / "dot" / "gone.png").symlink_to("nowhere")
    assert finetune(settings(data=marked)).unreadable == 1
    assert "left out dot/gone.png" in caplog.text


def test_class_that_unreadable_photos_leave_too_small(settings, tmp_path):
    photos = save_marked_photos(tmp_path / "photos", count=3)
    for name in ("00.png", "01.png"):
        (photos / "ok" / name).write_bytes(b"")
    with pytest.raises(DataError, match="fewer than two photos of 'ok'"):
        finetune(settings(data=photos))
    (photos / "ok" / "02.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"fewer than two photos of 'ok' \(0\)"):
        finetune(settings(data=photos))
    for name in ("00.png", "01.png", "02.png"):
        shutil.copy(photos / "dot" / name, photos / "ok" / name)
    assert finetune(settings(data=photos)).unreadable == 0  # without checkpoints, other photos are no obstacle


# Refusals


def test_no_such_model(settings):
    with pytest.raises(ModelError, match="no such folder"):
        finetune(settings(model="/nowhere/model"))


def test_unsupported_family(settings, tmp_path):
    (tmp_path / "swin").mkdir()
    (tmp_path / "swin" / "config.json").write_text(json.dumps({"model_type": "swin"}))
    with pytest.raises(ModelError, match="'swin' has no attention rollout"):
        finetune(settings(model=str(tmp_path / "swin")))


@pytest.mark.parametrize("name", ["finetune", "evaluate"])
def test_commands_load_torch_only_when_they_work(name):
    """For --help, and because OMP_WAIT_POLICY is read while torch is loaded."""
    code = f"import sys, jobs.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
