"""Unsuitable data and settings, by the command: a model with a warning, or one clear line; never a traceback."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.helpers.commands import run_vitrollout
from tests.training.marked_photos import save_marked_photos


@pytest.fixture
def train(tiny_checkpoint, tmp_path):
    """A function to run `vitrollout finetune` on data, a second of training; returns exit code, log and summary."""

    def run(data, *options):
        model = ["--model", tiny_checkpoint("vit"), "--out", tmp_path / "out"]
        done = run_vitrollout("finetune", data, *model, "--input-size", "32", "--minutes", "0.02", *options)
        assert "Traceback" not in done.stderr
        summary = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
        assert (tmp_path / "out" / "config.json").is_file() == (summary is not None)
        return done.returncode, done.stderr, summary

    return run


def assert_refused(outcome, words):
    """Assert exit code 2, and one line with these words."""
    code, said, _ = outcome
    assert code == 2, said
    (line,) = said.splitlines()
    assert line.startswith(f"vitrollout: {words}")


@pytest.mark.parametrize("count", [2, 3])
def test_few_photos_a_class(train, tmp_path, count):
    code, said, summary = train(save_marked_photos(tmp_path / "photos", count))
    assert code == 0, said
    listed = f"'bar' ({count}), 'dot' ({count}), 'ok' ({count})"
    assert f"few photos of {listed}: too few to learn from and to judge by; a class needs 10 or more" in said
    assert sum(summary["photos"].values()) == 3 * count


def test_one_photo_of_a_class(train, tmp_path):
    photos = save_marked_photos(tmp_path / "photos", 3)
    for name in ("01.png", "02.png"):
        (photos / "dot" / name).unlink()
    assert_refused(train(photos), "label: fewer than two photos of 'dot' (1); add photos, or merge or drop the class")


def test_one_class(train, tmp_path):
    photos = save_marked_photos(tmp_path / "photos", 3)
    for label in ("bar", "dot"):
        shutil.rmtree(photos / label)
    assert_refused(train(photos), "label: only one class, 'ok'; a classifier needs two or more")


def test_equal_photos_with_contradicting_labels(train, tmp_path):
    photos = save_marked_photos(tmp_path / "photos", 6)
    for file in (photos / "ok").iterdir():
        shutil.copy(file, photos / "bar" / f"copy-{file.name}")
    code, said, summary = train(photos)
    assert code == 0, said
    assert "12 photos are byte-identical to one with another label: bar/copy-00.png (bar) = ok/00.png (ok)" in said
    assert "looks the same as" in summary["advice"][2]


def test_photos_of_all_sizes(train, tmp_path):
    """Those of no pixel height at the model's size are left out by name."""
    random, photos = np.random.default_rng(0), tmp_path / "photos"
    sizes = [(1, 1), (3000, 50), (50, 3000), (5, 7), (640, 480), (33, 20), (300, 300), (3000, 1)]
    for label in ("bad", "ok"):
        (photos / label).mkdir(parents=True)
        for width, height in sizes:
            pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(photos / label / f"{width}x{height}.png")
    code, said, summary = train(photos, "--input-size", "64")
    assert code == 0, said
    assert "recipe: resize = pad; " in said
    for label in ("bad", "ok"):
        assert f"left out {label}/3000x1.png: 3000 x 1 pixels can't be resized for the model" in said
    assert summary["unreadable"] == 2
    assert sum(summary["photos"].values()) == 14


def test_hardly_any_time(train, photos, tmp_path):
    """The linear probe is the model."""
    code, said, summary = train(photos, "--minutes", "0.0001")
    assert code == 0, said
    assert "recipe: epochs = 0; an epoch takes " in said
    assert (summary["epochs"], summary["seconds"] < 60) == (0, True)
    assert summary["advice"][1].startswith("The time was enough for the starting point alone; try --minutes 1,")
    assert "| 0 | 0." in (tmp_path / "out" / "README.md").read_text()
    assert summary["validation"]["accuracy"] > 0.5


@pytest.mark.parametrize("minutes", ["nonsense", "0", "-3", "nan"])
def test_no_such_time(train, photos, minutes):
    assert_refused(train(photos, "--minutes", minutes), f"minutes = {minutes}: must be ")


def test_a_metric_without_meaning(train, tmp_path):
    photos = save_marked_photos(tmp_path / "photos", 3)
    (photos / "ok").rename(photos / "blank")
    assert_refused(train(photos, "--best-by", "defect_recall"), "best_by = defect_recall: needs a class of good photos")


def test_more_blocks_to_train_than_there_are(train, photos):
    code, said, _ = train(photos, "--train-blocks", "9")
    assert code == 2
    assert said.splitlines()[-1].startswith("vitrollout: train_blocks = 9: the model has 3 blocks; use at most that")
    assert "linear probe" not in said  # said before the work


def test_families_by_likeness_of_five_photos(train, tmp_path):
    photos = save_marked_photos(tmp_path / "photos", 3)
    shutil.rmtree(photos / "bar")
    (photos / "dot" / "00.png").unlink()
    code, said, summary = train(photos, "--group", "similar")
    assert code == 0, said
    assert "families of photos that look alike, of 5 photos" in said
    assert sum(summary["photos"].values()) == 5


def test_families_by_likeness_on_several_sides_of_given_splits(train, photos, tmp_path):
    """The splits of the data stay, with a warning."""
    rows = []
    for file in sorted(photos.glob("*/*.png")):
        for side in ("train", "test"):
            name = f"{side}-{file.parent.name}-{file.name}"
            shutil.copy(file, tmp_path / name)
            rows.append((name, file.parent.name, side))
    pd.DataFrame(rows, columns=["path", "label", "split"]).to_csv(tmp_path / "labels.csv", index=False)
    code, said, summary = train(tmp_path / "labels.csv", "--group", "similar")
    assert code == 0, said
    assert "groups lie on several sides of the data's splits: " in said
    assert summary["photos"]["test"] == 30
