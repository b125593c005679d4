"""The working folder: one training at a time, and never another one's data or settings."""

import json
from dataclasses import replace

import pytest

from pipeline.errors import ConfigError, FolderBusyError, StoppedError
from pipeline.labelled.splits import LabelledPhoto
from pipeline.training.finetune import finetune
from pipeline.training.work_folder import open_work_folder


def test_two_trainings_at_once(settings):
    config = settings()
    with open_work_folder(config, [], "digest"), pytest.raises(FolderBusyError) as caught:
        finetune(config)
    assert caught.value.exit_code == 75


def test_other_settings_do_not_go_on_with_an_unfinished_training(settings, tmp_path):
    saved = (tmp_path / "out").rglob
    with pytest.raises(StoppedError, match="run the same command"):
        finetune(settings(batch_size=4, checkpoint_seconds=1e-3), stop=lambda: any(saved("checkpoint-*.pt")))
    with pytest.raises(ConfigError, match=r"unfinished training .*\(learning_rate was 0.001, is 0.002\)"):
        finetune(settings(batch_size=4, learning_rate=2e-3))
    finetune(settings(batch_size=4, learning_rate=2e-3, overwrite=True))
    assert (tmp_path / "out" / "config.json").is_file()


def test_changed_photos_are_named(settings):
    with open_work_folder(settings(), [], "digest") as work:
        (work / "checkpoint-1.pt").touch()
    with (
        pytest.raises(ConfigError, match=r"\(the files of the starting model have changed\)"),
        open_work_folder(settings(), [], "other"),
    ):
        pass


@pytest.mark.parametrize("changes", [{"label": "bad"}, {"split": "test"}, {"group": "2"}, {"weight": 0.3}])
def test_changed_reviews_and_splits_are_noticed(settings, tmp_path, changes):
    photo = LabelledPhoto("a.png", tmp_path / "a.png", "ok", split="train", group="1")
    with open_work_folder(settings(), [photo], "digest") as work:
        (work / "checkpoint-1.pt").touch()
    with (
        pytest.raises(ConfigError, match=r"\(photos, their labels, groups or splits have changed\)"),
        open_work_folder(settings(), [replace(photo, **changes)], "digest"),
    ):
        pass


def test_nothing_trained_yet_is_nothing_to_lose(settings):
    with open_work_folder(settings(), [], "digest") as work:
        (work / "train.pixels").touch()
    with open_work_folder(settings(), [], "other"):
        assert not (work / "train.pixels").exists()


def test_an_unfinished_training_of_another_version_is_refused(settings):
    """Its checkpoints are folders, unreadable for the training loop, but perhaps days of work."""
    with open_work_folder(settings(), [], "digest") as work:
        identity = json.loads((work / "training.json").read_text())
        del identity["checkpoint_format"]
        (work / "training.json").write_text(json.dumps(identity))
        (work / "checkpoint-12").mkdir()
    with pytest.raises(ConfigError, match=r"holds an unfinished training .*\(another version of vitrollout began it\)"):
        open_work_folder(settings(), [], "digest").__enter__()
    assert (work / "checkpoint-12").is_dir()
    with open_work_folder(settings(overwrite=True), [], "digest"):
        assert not (work / "checkpoint-12").exists()


def test_partial_files_of_a_killed_training_go(settings):
    with open_work_folder(settings(), [], "digest") as work:
        (work / ("ab" * 16)).touch()
        (work / "checkpoint-1.pt").touch()
    with open_work_folder(settings(), [], "digest"):
        assert not (work / ("ab" * 16)).exists()
        assert (work / "checkpoint-1.pt").exists()


def test_a_finished_model_is_not_overwritten_unasked(finished, settings):
    with pytest.raises(ConfigError, match="holds a finished model; name another folder, or --overwrite it"):
        finetune(finished.config)
    with open_work_folder(settings(out=finished.out, overwrite=True), [], "digest"):
        pass
