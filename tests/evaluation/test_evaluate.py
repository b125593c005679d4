"""Metrics against values worked out by hand, and the command from photos to files."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save_file

import pipeline
from jobs.evaluate import evaluate as command
from pipeline.errors import ConfigError, DataError, ModelError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.metrics import (
    class_metrics,
    confusion,
    defect_metrics,
    expected_calibration_error,
    f1_by_class,
    threshold_for_recall,
)
from pipeline.intervals import bootstrap
from pipeline.markdown import EVALUATION_BEGIN, replace_evaluation_section
from tests.helpers.tiny import save_photos, save_tiny_vit

# Eight photos, three classes; truth and prediction differ for the third, the fifth and the eighth.
TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 1, 0, 2, 1, 2, 0])
CONFIDENCE = np.array([0.9, 0.9, 0.6, 0.7, 0.6, 0.9, 0.7, 0.6])


def probabilities():
    """The confidence on the predicted class, the rest on the other two, alike."""
    rows = np.repeat(((1 - CONFIDENCE) / 2)[:, None], 3, axis=1)
    rows[np.arange(8), PREDICTED] = CONFIDENCE
    return rows


def test_class_metrics_by_hand():
    found = class_metrics(TRUTH, probabilities())
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    # F1 = 2 TP / (2 TP + FP + FN): 6 / (6 + 1 + 1), 2 / (2 + 1 + 1), 2 / (2 + 1 + 1)
    assert found["macro_f1"] == pytest.approx((6 / 8 + 2 / 4 + 2 / 4) / 3)
    # Guo et al.: bins of 0.6, 0.7 and 0.9 hold 3, 2 and 3 photos, of which 0, 2 and 3 are right
    assert found["ece"] == pytest.approx((3 * 0.6 + 2 * 0.3 + 3 * 0.1) / 8)


def test_ranking_metrics_by_hand():
    truth, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    found = class_metrics(truth, np.stack([1 - score, score], axis=1))
    assert found["roc_auc"] == pytest.approx(3 / 4)  # of four pairs, one is the wrong way round, for either class
    # class 1 is found at ranks 1 and 3, class 0 at ranks 1 and 3 of the other order
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_f1_by_class_by_hand():
    assert f1_by_class(TRUTH, probabilities()) == pytest.approx({"0": 6 / 8, "1": 2 / 4, "2": 2 / 4})


def test_a_class_that_does_not_occur_is_undefined_and_does_not_count():
    truth, chances = TRUTH[:6], probabilities()[:6]
    assert math.isnan(f1_by_class(truth, chances)["2"])
    assert class_metrics(truth, chances)["macro_f1"] == pytest.approx((6 / 7 + 2 / 4) / 2)


def test_only_one_class_leaves_ranking_undefined():
    found = class_metrics(TRUTH[:4], probabilities()[:4])
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert math.isnan(found["roc_auc"])


def test_calibration_error_at_the_edges():
    assert expected_calibration_error(np.array([True, True]), np.array([1.0, 1.0])) == 0
    # 0.2 is the edge of two of the fifteen bins; both libraries must put it into the same one
    assert expected_calibration_error(np.array([True, False]), np.array([0.2, 0.21])) == pytest.approx((0.8 + 0.21) / 2)


def test_confusion_has_the_truth_in_rows():
    assert confusion(TRUTH, PREDICTED, 3).tolist() == [[3, 1, 0], [0, 1, 1], [1, 0, 1]]


IS_DEFECT = np.array([True, True, True, True, False, False, False, False])
SCORE = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.3, 0.2, 0.1])


def test_defect_metrics_by_hand():
    found = defect_metrics(IS_DEFECT, SCORE)
    assert found["recall"] == 3 / 4
    assert found["precision"] == 3 / 4
    assert found["false_alarms"] == 1 / 4
    assert found["f1"] == 3 / 4
    assert found["roc_auc"] == pytest.approx((4 + 4 + 3 + 1.5) / 16)


@pytest.mark.parametrize(
    ("wanted", "threshold", "recall", "precision", "false_alarms"),
    [(0.5, 0.8, 0.5, 1, 0), (0.51, 0.6, 0.75, 0.75, 0.25), (0.99, 0.2, 1, 4 / 7, 0.75), (1, 0.2, 1, 4 / 7, 0.75)],
)
def test_threshold_is_the_highest_that_reaches_the_recall(wanted, threshold, recall, precision, false_alarms):
    found = threshold_for_recall(IS_DEFECT, SCORE, wanted)
    assert found is not None
    assert (found.threshold, found.recall, found.false_alarms) == (threshold, recall, false_alarms)
    assert found.precision == pytest.approx(precision)


def test_threshold_needs_both_kinds():
    assert threshold_for_recall(np.ones(4, dtype=bool), SCORE[:4], 0.9) is None


def test_bootstrap_interval_of_a_mean():
    values = np.random.default_rng(1).normal(size=400)
    found = bootstrap(lambda places: {"mean": float(values[places].mean())}, 400, resamples=2000, seed=0)["mean"]
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - 1.96 * values.std() / 20, abs=0.01)
    assert found.high == pytest.approx(values.mean() + 1.96 * values.std() / 20, abs=0.01)


def test_bootstrap_is_seeded_and_can_be_off():
    def measure(places):
        return {"mean": float(TRUTH[places].mean())}

    assert bootstrap(measure, 8, resamples=50, seed=1) == bootstrap(measure, 8, resamples=50, seed=1)
    assert bootstrap(measure, 8, resamples=50, seed=1) != bootstrap(measure, 8, resamples=50, seed=2)
    assert math.isnan(bootstrap(measure, 8, resamples=0, seed=1)["mean"].low)


def test_card_section_is_put_in_once():
    card = "# Model\n\ntext\n"
    once = replace_evaluation_section(card, "first")
    assert replace_evaluation_section(once, "second") == once.replace("first", "second")
    assert once.startswith(card)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_vit(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def labelled(tmp_path):
    """Twelve photos with a label each, half of them in the test split, one of those broken."""
    names = save_photos(tmp_path / "photos", 12)
    (tmp_path / "photos" / names[11]).write_bytes(b"broken")
    rows = [f"{name},class-{place % 3},{'test' if place >= 6 else 'train'}" for place, name in enumerate(names)]
    file = tmp_path / "photos" / "labels.csv"
    file.write_text("\n".join(["path,label,split", *rows]) + "\n")
    return file


def settings(labelled, model, tmp_path, **more):
    common = {"resamples": 20, "workers": 1, "precision": "fp32", "batch_size": 4}
    return EvaluateConfig(data=labelled, model=str(model), out=tmp_path / "evaluation", **common | more)


def test_command_writes_what_it_found(labelled, model, tmp_path):
    out = tmp_path / "evaluation"
    arguments = [str(labelled), "--model", str(model), "--out", str(out), "--resamples", "20", "--workers", "1"]
    done = CliRunner().invoke(command, [*arguments, "--positive", "class-1,class-2", "--recall", "0.9"])
    assert done.exit_code == 3, done.output  # one photo failed
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["photos"], summary["failed"]) == (5, 1)
    report = json.loads((out / "metrics.json").read_text())
    assert report["split"] == "test, by the data"
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "ece"):
        estimate = report["metrics"][name]
        assert 0 <= estimate["low"] <= estimate["high"] <= 1
        assert estimate["value"] == pytest.approx(summary[name], abs=1e-4)
    assert set(report["f1"]) == {"class-0", "class-1", "class-2"}
    assert report["any_defect"]["labels"] == ["class-1", "class-2"]
    assert report["any_defect"]["for_recall"]["recall"] >= 0.9
    assert np.sum(report["confusion"]["rows_are_truth"]) == 5
    with Image.open(out / "figure.png") as figure:
        assert figure.width > 1000
    table = pd.read_parquet(out / "predictions.parquet")
    assert table["status"].value_counts().to_dict() == {"ok": 5, "failed": 1}
    assert table.set_index("path").loc["photo-0011.png", "error"] == "not an image of a supported format"
    ok = table[table["status"] == "ok"]
    assert (ok["correct"] == (ok["label"] == ok["predicted"])).all()
    assert ok["correct"].mean() == report["metrics"]["accuracy"]["value"]
    assert ok["probabilities"].map(sum).to_numpy() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("input_size", [None, (48, 32)])
def test_numbers_are_those_of_a_run(labelled, model, tmp_path, input_size):
    evaluate(settings(labelled, model, tmp_path, split="all", input_size=input_size))
    common = {"workers": 1, "batch_size": 4, "precision": "fp32", "input_size": input_size}
    pipeline.run(pipeline.RunConfig(input=labelled.parent, out=tmp_path / "run", model=str(model), **common))
    ran = pipeline.read_results(tmp_path / "run").set_index("path")
    table = pd.read_parquet(tmp_path / "evaluation" / "predictions.parquet").set_index("path")
    ok = table.index[table["status"] == "ok"]
    chances = torch.tensor(np.stack(list(ran.loc[ok, "logits"]))).softmax(1).numpy()
    assert np.stack(list(table.loc[ok, "probabilities"])) == pytest.approx(chances, abs=1e-6)
    assert (table.loc[ok, "predicted"] == ran.loc[ok, "label"].astype(str)).all()


def test_average_over_turns_is_the_mean_of_eight_views(labelled, model, tmp_path):
    evaluate(settings(labelled, model, tmp_path, average_turns=True))
    table = pd.read_parquet(tmp_path / "evaluation" / "predictions.parquet").set_index("path")
    name = "photo-0007.png"
    with Image.open(labelled.parent / name) as image:
        # square before it is turned, as the model's input is
        photo = image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    views = tmp_path / "views"
    views.mkdir()
    for turn in range(4):
        photo.rotate(90 * turn).save(views / f"{turn}.png")
        photo.rotate(90 * turn).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(views / f"{turn}-mirrored.png")
    pipeline.run(pipeline.RunConfig(input=views, out=tmp_path / "run", model=str(model), precision="fp32", workers=1))
    logits = torch.tensor(np.stack(list(pipeline.read_results(tmp_path / "run")["logits"])))
    assert table.loc[name, "probabilities"] == pytest.approx(logits.softmax(1).mean(0).numpy(), abs=1e-5)


def test_split_of_the_model_is_used_where_the_data_has_none(labelled, tmp_path, caplog):
    caplog.set_level("INFO")
    model = save_tiny_vit(tmp_path / "model")
    table = pd.read_csv(labelled)
    table[["path", "label", "split"]].to_csv(model / "split.csv", index=False)
    table[["path", "label"]].to_csv(labelled, index=False)
    found = evaluate(settings(labelled, model, tmp_path))
    assert found.split == "test, by the model's split.csv"
    assert len(found.truth) == 5
    assert "6 photos have another split by the model's split.csv and are left out" in caplog.text
    assert len(evaluate(settings(labelled, model, tmp_path, split="train")).truth) == 6
    with pytest.raises(DataError, match=r"no photo of .* is in it"):
        evaluate(settings(labelled, model, tmp_path, split="validation"))


def test_photos_that_the_model_may_know_are_warned_of(labelled, tmp_path, caplog):
    model = save_tiny_vit(tmp_path / "model")
    table = pd.read_csv(labelled)
    table.assign(split="train").to_csv(labelled, index=False)
    assert evaluate(settings(labelled, model, tmp_path)).split == "all"
    assert f"{len(table)} photos are for training by the data" in caplog.text
    table.assign(path="elsewhere/" + table["path"]).to_csv(model / "split.csv", index=False)
    table[["path", "label"]].to_csv(labelled, index=False)
    assert evaluate(settings(labelled, model, tmp_path)).split == "all"
    assert "no photo is in the model's split.csv by its path" in caplog.text
    table.tail(5).assign(split="test").to_csv(model / "split.csv", index=False)
    assert len(evaluate(settings(labelled, model, tmp_path)).truth) == 4  # one of the five is broken
    assert f"{len(table) - 5} photos are not in the model's split.csv and are left out" in caplog.text


def test_labels_named_twice_count_once(labelled, model, tmp_path):
    assert settings(labelled, model, tmp_path, positive=("class-1,class-2", "class-1")).positive == (
        "class-1",
        "class-2",
    )


def test_pictures_do_not_become_input(labelled, model):
    with pytest.raises(ConfigError, match="lies inside the input folder"):
        EvaluateConfig(data=labelled.parent, model=str(model), out=labelled.parent / "evaluation")


def test_model_that_gives_no_numbers(labelled, tmp_path):
    broken = save_tiny_vit(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"] += float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not finite"):
        evaluate(settings(labelled, broken, tmp_path))


def test_card_is_updated_only_when_asked(labelled, tmp_path):
    model = save_tiny_vit(tmp_path / "model")
    evaluate(settings(labelled, model, tmp_path))
    assert not (model / "README.md").exists()
    evaluate(settings(labelled, model, tmp_path, update_card=True, positive="class-1"))
    card = (model / "README.md").read_text()
    assert EVALUATION_BEGIN in card
    assert "balanced accuracy" in card
    assert "| class-2 |" in card


def test_card_of_a_model_that_is_nobodys_folder(labelled, tmp_path):
    for model in ("bundled", "org/model"):
        with pytest.raises(ConfigError, match="only the card of a model folder of yours"):
            settings(labelled, model, tmp_path, update_card=True)


def test_a_label_that_looks_like_a_formula(labelled, tmp_path):
    model = save_tiny_vit(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config["id2label"]["1"] = "$1^$"
    (model / "config.json").write_text(json.dumps(config))
    labelled.write_text(labelled.read_text().replace("class-1", "$1^$"))
    evaluate(settings(labelled, model, tmp_path))
    assert (tmp_path / "evaluation" / "figure.png").is_file()


def test_what_can_not_be_done_is_said_before_the_work(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.evaluation.evaluate._judge", lambda *_: pytest.fail("it began"))
    model = save_tiny_vit(tmp_path / "model")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"can't be written \(Not a directory\)"):
        evaluate(settings(labelled, model, tmp_path / "file"))
    processor = json.loads((model / "preprocessor_config.json").read_text()) | {"size": {"height": 32, "width": 48}}
    (model / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ConfigError, match="average_turns: the model's input is 32 x 48"):
        evaluate(settings(labelled, model, tmp_path, average_turns=True))


def test_labels_that_the_model_does_not_know(labelled, model, tmp_path):
    labelled.write_text(labelled.read_text().replace("class-1", "dent"))
    with pytest.raises(DataError, match="'dent' of the data is no class of the model, which knows class-0, class-1"):
        evaluate(settings(labelled, model, tmp_path))
    labelled.write_text(labelled.read_text().replace("dent", "class-1"))
    with pytest.raises(DataError, match="positive = hole: no class of the model"):
        evaluate(settings(labelled, model, tmp_path, positive="hole"))


def test_no_photo_can_be_read(labelled, model, tmp_path):
    for photo in labelled.parent.glob("*.png"):
        photo.write_bytes(b"")
    with pytest.raises(DataError, match=r"no photo can be read, photo-0006.png: empty file"):
        evaluate(settings(labelled, model, tmp_path))
