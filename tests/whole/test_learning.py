"""From a first run over reviews to the second model, and to the answer which of the two is better."""

import json
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image, ImageDraw

import pipeline
from pipeline.errors import ConfigError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.reviews.classes import extend_classes
from pipeline.training.config import FinetuneConfig
from pipeline.training.finetune import finetune
from tests.helpers.commands import run_vitrollout
from tests.helpers.reviewed_folders import review_photos
from tests.training.marked_photos import CLASSES, save_marked_photos

QUICK = {"input_size": 32, "epochs": 1, "batch_size": 16, "precision": "fp32", "learning_rate": 1e-3, "patience": None}
BOARD = r"board-(\d+)"


def save_boards(folder, first, last):
    """Save three photos of each board, one of each class, mixed in one folder; return the true labels by path."""
    spare = folder.parent / f"spare-{first}"
    save_marked_photos(spare, count=last - first, seed=first)
    folder.mkdir(exist_ok=True)
    truth = {}
    for board in range(first, last):
        for view, label in enumerate(CLASSES):
            name = f"board-{board:03d}_{view}.png"
            (spare / label / f"{board - first:02d}.png").rename(folder / name)
            truth[name] = label
    shutil.rmtree(spare)
    return truth


def add_burrs(folder, boards):
    """Save a photo of a new class for each of some boards."""
    truth = {}
    for board in boards:
        photo = Image.new("RGB", (60, 52), (110, 110, 100 + board))
        ImageDraw.Draw(photo).polygon([(board % 30, 5), (board % 30 + 20, 30), (board % 30, 40)], fill="red")
        name = f"board-{board:03d}_burr.png"
        photo.save(folder / name)
        truth[name] = "burr"
    return truth


def run(place, model):
    pipeline.run(
        pipeline.RunConfig(
            input=place.photos, out=place.out, model=str(model), workers=1, report=False, overlay_size=None
        )
    )


def split_csv(model):
    return pd.read_csv(model / "split.csv").set_index("path")


@pytest.fixture(scope="module")
def loop(tmp_path_factory, tiny_vit):
    """Two rounds of run, review and training: 20 boards, then 10 more and a class more."""
    folder = tmp_path_factory.mktemp("loop")
    place = SimpleNamespace(
        photos=folder / "photos", out=folder / "results", first=folder / "first", next=folder / "next"
    )
    place.start = save_marked_photos(folder / "start", count=10)
    finetune(FinetuneConfig(data=place.start, out=folder / "old", model=str(tiny_vit), **QUICK))
    truth = save_boards(place.photos, 0, 20)
    run(place, folder / "old")
    review_photos(place.out, truth)
    finetune(FinetuneConfig(data=place.out, out=place.first, group=BOARD, **QUICK))  # from the model of the run
    truth |= save_boards(place.photos, 20, 30) | add_burrs(place.photos, range(0, 30, 2))
    run(place, place.first)
    extend_classes(place.out, ["ok", "burr"])
    review_photos(place.out, truth)
    place.result = finetune(FinetuneConfig(data=place.out, out=place.next, **QUICK))
    place.truth = truth
    return place


def test_no_photo_changes_its_split_and_no_class_its_id(loop):
    first, second = split_csv(loop.first), split_csv(loop.next)
    assert (len(first), len(second)) == (60, 105)
    assert (second.loc[first.index, "split"] == first["split"]).all()
    assert resolve_checkpoint(str(loop.first)).labels == CLASSES
    assert resolve_checkpoint(str(loop.next)).labels == (*CLASSES, "burr")
    assert loop.result.labels == (*CLASSES, "burr")


def test_no_group_lies_on_two_sides(loop):
    table = split_csv(loop.next)
    assert (table["group"] == table.index.str.extract(BOARD, expand=False).astype(int)).all()
    assert table.groupby("group")["split"].nunique().max() == 1
    shares = table["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.04)
    assert shares["validation"] == pytest.approx(0.15, abs=0.04)
    kept = pd.read_csv(loop.out / "reviews" / "splits.csv", comment="#").set_index("group")["split"]
    assert (table["split"] == table["group"].map(kept)).all()


def test_split_csv_of_the_model_is_a_data_set(loop, tmp_path):
    evaluation = evaluate(
        EvaluateConfig(data=loop.next / "split.csv", model=str(loop.next), out=tmp_path / "e", resamples=0, workers=1)
    )
    assert evaluation.split == "test, by the data"


def compare(loop, out, *models, **settings):
    names = dict(zip(("model", "against"), map(str, models), strict=True))
    return evaluate(EvaluateConfig(data=loop.out, out=out, **names, workers=1, **{"resamples": 50} | settings))


def test_a_model_against_itself(loop, tmp_path):
    comparison = compare(loop, tmp_path, loop.next, loop.next).comparison
    assert (comparison.p, comparison.better, comparison.left_out, comparison.changed) == (1.0, None, {}, ())
    assert {(each.difference.value, each.difference.high) for each in comparison.metrics.values()} == {(0.0, 0.0)}


def test_two_models_on_the_reviews_of_today(loop, tmp_path, caplog):
    caplog.set_level("INFO")
    evaluation = compare(loop, tmp_path, loop.next, loop.first)
    comparison, tested = evaluation.comparison, split_csv(loop.next).query("split == 'test'")
    burrs = int((tested["label"] == "burr").sum())
    assert burrs > 0
    assert len(evaluation.truth) == len(tested)
    assert comparison.photos == len(tested) - burrs
    assert comparison.left_out == {"label unknown to one of the models": burrs}
    assert comparison.judged_on == "test, by reviews/splits.csv"
    assert comparison.resampled == "groups"
    assert f"{loop.first} does not know their labels 'burr' ({burrs})" in caplog.text
    assert f"{loop.next} was neither trained nor chosen on any of them" in caplog.text
    assert comparison.sentence in caplog.text
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert report["comparison"] == json.loads(json.dumps(comparison.as_json()))
    first, second = (
        pd.read_parquet(tmp_path / name).set_index("path") for name in ("predictions.parquet", "against.parquet")
    )
    both = first.join(second, suffixes=("", "_against"), how="inner")
    differing = both[both["predicted"] != both["predicted_against"]]
    changed = pd.read_csv(tmp_path / "changed.csv").set_index("path")
    assert sorted(changed.index) == sorted(differing.index)
    assert (changed["model"] == differing.loc[changed.index, "predicted"]).all()
    right = changed["label"] == changed["against"]
    assert (changed.loc[right, "right"] == "against").all()
    assert len(both) == comparison.photos


def test_the_other_way_round_and_on_photos_of_the_training(loop, tmp_path, caplog):
    comparison = compare(loop, tmp_path, loop.first, loop.next, split="all", resamples=0).comparison
    assert comparison.photos == 90
    table = split_csv(loop.next)
    trained = int(((table["split"] == "train") & (table["label"] != "burr")).sum())
    assert f"{loop.next} was trained on {trained} of them" in caplog.text


def test_command_says_which_is_better(loop, tmp_path):
    done = run_vitrollout(
        "evaluate", loop.out, "--model", loop.next, "--against", loop.first, "--out", tmp_path, "--resamples", 20
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["comparison"]["sentence"] in done.stderr
    assert summary["comparison"]["judged_on"] == "test, by reviews/splits.csv"


def test_a_results_folder_without_groups_is_asked_for_them(loop, tmp_path):
    out = tmp_path / "results"
    shutil.copytree(loop.out, out)
    (out / "reviews" / "splits.csv").unlink()
    done = run_vitrollout("finetune", out, "--out", tmp_path / "model")
    assert done.returncode == 2
    assert (
        "--group photo if no two photos show the same object; the paths suggest --group '(.+)[-_ ][^/]*$'"
        in done.stderr
    )
    assert not (tmp_path / "model").exists()
    config = FinetuneConfig(data=loop.out, out=tmp_path / "model", group="photo", **QUICK)
    with pytest.raises(ConfigError, match="group = photo: "):
        finetune(config)


def test_sure_photos_are_trained_on_with_less_weight(loop, tmp_path, caplog):
    caplog.set_level("INFO")
    added = save_boards(loop.photos, 30, 36)
    out = tmp_path / "results"
    shutil.copytree(loop.out, out)
    run(SimpleNamespace(photos=loop.photos, out=out), loop.next)
    finetune(FinetuneConfig(data=out, out=tmp_path / "model", also="model>=0.1", **QUICK))
    for name in added:
        (loop.photos / name).unlink()
    table = split_csv(tmp_path / "model")
    sure = table[table.index.isin(added)]
    assert 0 < len(sure) < len(added)
    assert set(sure["split"]) == {"train"}
    assert "18 unreviewed photos with a score of 0.1 or more" in caplog.text


def test_folders_keep_groups_together_and_keep_their_splits(loop, tmp_path):
    data, kept = loop.start, tmp_path / "splits.csv"
    common = {"data": data, "model": str(loop.first), "group": r"(\d)\.png$", **QUICK}  # 0 to 9 in every class
    finetune(FinetuneConfig(**common, out=tmp_path / "a"))
    table = split_csv(tmp_path / "a")
    assert table.groupby("group")["split"].nunique().max() == 1
    finetune(FinetuneConfig(**common, out=tmp_path / "b", splits=kept))
    evaluation = evaluate(
        EvaluateConfig(data=data, model=str(tmp_path / "b"), splits=kept, out=tmp_path / "e", resamples=0, workers=1)
    )
    assert evaluation.split == "test, by splits.csv"
    assert len(evaluation.truth) == (split_csv(tmp_path / "b")["split"] == "test").sum()
