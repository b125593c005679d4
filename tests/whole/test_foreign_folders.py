"""Folders as systems, cameras and other programs leave them, through the commands."""

import json
import shutil
import unicodedata

import numpy as np
import pytest
from click.testing import CliRunner

import pipeline
from jobs.evaluate import evaluate_command
from jobs.run import run_command
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, DataError, StoppedError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.nightly.archives import nightly
from pipeline.nightly.config import read_config
from pipeline.photos.decode import EXTENSIONS
from pipeline.training.config import FinetuneConfig
from pipeline.training.finetune import finetune
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos

QUICK = {"workers": 1, "precision": "fp32", "batch_size": 4}
LEFT_OUT = {".dng (camera raw)": 2, "._* (resource fork of macOS)": 1, "@eaDir/ (thumbnails)": 1}


@pytest.fixture
def photos(tmp_path):
    """Three photos of a Mac on a NAS, with two negatives."""
    folder = tmp_path / "photos"
    save_photos(folder / "monday", 3)
    save_photos(folder / "monday" / "@eaDir" / "photo-0000.png", 2)
    (folder / "monday" / "._photo-0000.png").write_bytes(bytes.fromhex("00051607"))
    for name in ("a.dng", "B.DNG"):
        (folder / name).touch()
    return folder


@pytest.fixture
def twin_names(tmp_path):
    """A model with two classes of one name, but for blanks and Unicode forms."""
    folder = save_tiny_vit(tmp_path / "twins", labels=4)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "ok", "1": "Lötfehler", "2": unicodedata.normalize("NFD", "Lötfehler "), "3": "dent"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def settings(photos, tiny_vit, tmp_path, **more):
    return {"input": photos, "out": tmp_path / "out", "model": str(tiny_vit), "overlay_size": None} | QUICK | more


def test_a_run_and_a_night_count_what_they_leave_out(photos, tiny_vit, tmp_path):
    arguments = [str(photos), "--out", str(tmp_path / "out"), "--model", str(tiny_vit), "--overlay-size", "none"]
    done = CliRunner().invoke(run_command, [*arguments, "--workers", "1"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["found"], summary["ok"], summary["failed"]) == (3, 3, 0)
    assert summary["left_out"] == LEFT_OUT
    (record,) = (tmp_path / "out" / "runs").glob("*.json")
    assert json.loads(record.read_text())["left_out"] == LEFT_OUT
    (tmp_path / "night.toml").write_text(
        f'[[archive]]\ninput = "photos"\nout = "out"\nmodel = "{tiny_vit}"\noverlay_size = "none"\n'
        'exclude = "*-0001.png"\nhidden = true'
    )
    (night,) = nightly(read_config(tmp_path / "night.toml"))
    assert night.summary.left_out == {
        ".dng (camera raw)": 2,
        "excluded (--exclude)": 2,
        "._* (resource fork of macOS)": 1,
    }
    assert (night.exit_code, night.summary.found, night.summary.ok) == (0, 3, 1)


def test_a_record_of_an_earlier_version_has_no_such_field(photos, tiny_vit, tmp_path):
    from pipeline.results.run_record import newest_run_records

    pipeline.run(**settings(photos, tiny_vit, tmp_path, report=False))
    (file,) = (tmp_path / "out" / "runs").glob("*.json")
    content = json.loads(file.read_text())
    del content["left_out"]
    file.write_text(json.dumps(content))
    (record,) = newest_run_records(tmp_path / "out")
    assert record.summary.left_out == {}


def test_a_folder_of_negatives_says_so(photos, tiny_vit, tmp_path):
    shutil.rmtree(photos / "monday")
    with pytest.raises(ConfigError, match=r"no photos in .* \(left out: 2 \.dng \(camera raw\)\); .* run --help lists"):
        pipeline.run(**settings(photos, tiny_vit, tmp_path))


def test_help_lists_what_counts_as_a_photo():
    shown = CliRunner().invoke(run_command, ["--help"]).output
    _, _, listed = shown.partition("What counts as a photo:")
    assert set(listed.replace(",", "").split()) > {*EXTENSIONS, "heic", "heif"}


def test_a_sample_is_spread_over_folders_and_does_not_move_on(photos, tiny_vit, tmp_path):
    for day in ("tuesday", "wednesday"):
        save_photos(photos / day, 4)
    sampled = settings(photos, tiny_vit, tmp_path, sample=3, report=False)
    first, again = pipeline.run(**sampled), pipeline.run(**sampled)
    days = {path.partition("/")[0] for path in pipeline.read_results(tmp_path / "out")["path"]}
    assert (first.found, first.ok, again.processed) == (11, 3, 0)
    assert days == {"monday", "tuesday", "wednesday"}
    more = pipeline.run(**sampled | {"sample": 9, "limit": 4})
    assert (more.done_before, more.processed) == (3, 4)


def test_expected_labels_by_absolute_path_and_in_another_form(photos, tiny_vit, tmp_path):
    save_photos(photos / "März", 1)
    other_form = unicodedata.normalize("NFD", "März/photo-0000.png")
    (tmp_path / "labels.csv").write_text(
        f"path,label\n{photos}/monday/photo-0000.png,class-1\n{other_form},class-2 \nmonday/photo-0001.png,class-0\n"
    )
    expected = {"target": "expected", "labels": tmp_path / "labels.csv", "method": "legrad", "exclude": "*-0002*"}
    assert pipeline.run(**settings(photos, tiny_vit, tmp_path, report=False, **expected)).failed == 0
    targets = pipeline.read_results(tmp_path / "out").set_index("path")["target"]
    assert targets["monday/photo-0000.png"] == "class-1"
    assert targets["März/photo-0000.png"] == "class-2"


def evaluation_settings(data, model, tmp_path, **more):
    return EvaluateConfig(data=data, model=str(model), out=tmp_path / "evaluation", **{"resamples": 0} | QUICK | more)


def test_two_classes_of_one_name_are_counted_once_each(twin_names, tmp_path):
    for label in ("ok", "dent "):
        save_photos(tmp_path / "data" / label, 3)
    for positive in ((), ("dent", "Lötfehler")):
        result = evaluate(evaluation_settings(tmp_path / "data", twin_names, tmp_path, positive=positive))
        assert result.labels == ("ok", "Lötfehler", "Lötfehler", "dent")
        assert result.positive_ids == [1, 2, 3]
        assert np.allclose(result.defect_score, 1 - result.probabilities[:, 0])


def test_labels_that_the_model_has_twice_are_refused(twin_names, tmp_path):
    for label in ("ok", "Lötfehler"):
        save_photos(tmp_path / "data" / label, 2)
    with pytest.raises(DataError, match="2 classes called 'Lötfehler', ids 1, 2"):
        evaluate(evaluation_settings(tmp_path / "data", twin_names, tmp_path))


def test_an_evaluation_names_photos_that_the_training_had(tiny_vit, tmp_path, caplog):
    for seed, folder in enumerate(("train/class-0", "train/class-1", "test/class-0", "test/class-1")):
        save_photos(tmp_path / "data" / folder, 2, seed=seed)
    shutil.copy(tmp_path / "data/train/class-0/photo-0000.png", tmp_path / "data/test/class-0/new.png")
    arguments = ["--model", str(tiny_vit), "--out", str(tmp_path / "evaluation"), "--resamples", "0", "--workers", "1"]
    done = CliRunner().invoke(evaluate_command, [str(tmp_path / "data"), *arguments])
    assert done.exit_code == 0, done.output
    assert "in another split: test/class-0/new.png (test) = train/class-0/photo-0000.png (train); " in caplog.text


def test_a_training_names_its_twins_before_it_begins(tiny_vit, tmp_path, caplog):
    for seed, label in enumerate(("good", "dent")):
        save_photos(tmp_path / "data" / label, 4, seed=seed)
    shutil.copy(tmp_path / "data/good/photo-0000.png", tmp_path / "data/dent/photo-0003.png")
    config = FinetuneConfig(data=tmp_path / "data", model=str(tiny_vit), out=tmp_path / "mine", input_size=32)
    with pytest.raises(StoppedError):
        finetune(config, stop=lambda: True)
    assert "dent/photo-0003.png (dent) = good/photo-0000.png (good); correct the labels" in caplog.text


def test_settings_of_the_walk():
    assert RunConfig(input="sample_images", exclude="*_mask.png, raw").exclude == ("*_mask.png", "raw")
    with pytest.raises(ConfigError, match="sample = 0"):
        RunConfig(input="sample_images", sample=0)
