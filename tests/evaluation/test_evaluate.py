"""An evaluation from photos to files."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import load_file, save_file

import pipeline
from jobs.evaluate import evaluate_command
from pipeline.errors import ConfigError, DataError, ModelError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.write import format_card_section
from pipeline.markdown import EVALUATION_BEGIN
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_vit(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def labelled(tmp_path):
    """Twelve photos with a label each, half of them in the test split, one of those broken."""
    names = save_photos(tmp_path / "photos", 12)
    (tmp_path / "photos" / names[11]).write_bytes(b"broken")
    rows = [f"{name},class-{index % 3},{'test' if index >= 6 else 'train'}" for index, name in enumerate(names)]
    file = tmp_path / "photos" / "labels.csv"
    file.write_text("\n".join(["path,label,split", *rows]) + "\n")
    return file


def settings(labelled, model, tmp_path, **more):
    common = {"resamples": 20, "workers": 1, "precision": "fp32", "batch_size": 4}
    return EvaluateConfig(data=labelled, model=str(model), out=tmp_path / "evaluation", **common | more)


def test_command_writes_all_files(labelled, model, tmp_path):
    out = tmp_path / "evaluation"
    arguments = [str(labelled), "--model", str(model), "--out", str(out), "--resamples", "20", "--workers", "1"]
    done = CliRunner().invoke(evaluate_command, [*arguments, "--positive", "class-1,class-2", "--recall", "0.9"])
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


def test_split_of_the_model_is_used_for_data_without_one(labelled, tmp_path, caplog):
    caplog.set_level("INFO")
    model = save_tiny_vit(tmp_path / "model")
    table = pd.read_csv(labelled)
    table[["path", "label", "split"]].to_csv(model / "split.csv", index=False)
    table[["path", "label"]].to_csv(labelled, index=False)
    evaluation = evaluate(settings(labelled, model, tmp_path))
    assert evaluation.split == "test, by the model's split.csv"
    assert len(evaluation.truth) == 5
    assert "6 photos have another split by the model's split.csv and are left out" in caplog.text
    assert len(evaluate(settings(labelled, model, tmp_path, split="train")).truth) == 6
    with pytest.raises(DataError, match=r"no photo of .* is in it"):
        evaluate(settings(labelled, model, tmp_path, split="validation"))


def test_photos_perhaps_used_in_training_are_warned_about(labelled, tmp_path, caplog):
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


def test_output_that_is_not_finite_is_refused(labelled, tmp_path):
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


def test_card_of_a_model_without_a_folder(labelled, tmp_path):
    for model in ("bundled", "org/model"):
        with pytest.raises(ConfigError, match="only the card of a model folder of yours"):
            settings(labelled, model, tmp_path, update_card=True)


def test_a_label_like_a_formula(labelled, tmp_path):
    model = save_tiny_vit(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config["id2label"]["1"] = "$1^$"
    (model / "config.json").write_text(json.dumps(config))
    labelled.write_text(labelled.read_text().replace("class-1", "$1^$"))
    evaluate(settings(labelled, model, tmp_path))
    assert (tmp_path / "evaluation" / "figure.png").is_file()


def test_impossible_settings_are_reported_before_the_work(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.evaluation.evaluate.predict_photos", lambda *_: pytest.fail("the work began"))
    model = save_tiny_vit(tmp_path / "model")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"can't be written \(Not a directory\)"):
        evaluate(settings(labelled, model, tmp_path / "file"))
    processor = json.loads((model / "preprocessor_config.json").read_text()) | {"size": {"height": 32, "width": 48}}
    (model / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ConfigError, match="average_turns: the model's input is 32 x 48"):
        evaluate(settings(labelled, model, tmp_path, average_turns=True))


def test_labels_unknown_to_the_model(labelled, model, tmp_path):
    labelled.write_text(labelled.read_text().replace("class-1", "dent"))
    with pytest.raises(DataError, match="'dent' of the data is not a class of the model, which knows class-0, class-1"):
        evaluate(settings(labelled, model, tmp_path))
    labelled.write_text(labelled.read_text().replace("dent", "class-1"))
    with pytest.raises(DataError, match="positive = hole: not a class of the model; its classes: class-0, class-1"):
        evaluate(settings(labelled, model, tmp_path, positive="hole"))


def test_a_recall_without_a_good_class_is_refused_before_the_work(labelled, model, tmp_path, caplog, monkeypatch):
    evaluation = evaluate(settings(labelled, model, tmp_path))  # nobody asked for a recall
    assert evaluation.threshold is None
    assert "no class is called ok, good, normal, functional" in caplog.text
    report = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert report["any_defect"]["for_recall"] is None
    assert "name the classes of defects with --positive" in report["any_defect"]["why_no_threshold"]
    monkeypatch.setattr("pipeline.evaluation.evaluate.predict_photos", lambda *_: pytest.fail("the work began"))
    arguments = [str(labelled), "--model", str(model), "--out", str(tmp_path / "e"), "--recall", "0.99"]
    done = CliRunner().invoke(evaluate_command, arguments)
    assert isinstance(done.exception, DataError) or done.exit_code == 2
    with pytest.raises(DataError, match=r"recall = 0.9: no class is called ok.*--positive .classes: class-0, class-1"):
        evaluate(settings(labelled, model, tmp_path, recall=0.9))


@pytest.mark.parametrize(("label", "missing"), [("class-0", "defect"), ("class-1", "good photo")])
def test_photos_of_one_kind_have_no_threshold(labelled, model, tmp_path, caplog, label, missing):
    table = pd.read_csv(labelled)
    table.assign(label=label).to_csv(labelled, index=False)
    evaluation = evaluate(settings(labelled, model, tmp_path, positive="class-1", recall=0.9))
    assert evaluation.threshold is None
    assert f"no {missing} is among these photos, so no threshold can be chosen" in caplog.text


def test_few_photos_are_not_certain(labelled, model, tmp_path, caplog):
    evaluation = evaluate(settings(labelled, model, tmp_path, positive="class-1,class-2", update_card=False))
    assert "A recall of 0.99 is more than 3 defects can show" in caplog.text
    for name, estimate in (evaluation.metrics | evaluation.f1 | evaluation.defects).items():
        assert estimate.high - estimate.low > 0.1 or np.isnan(estimate.value), name
    report = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["any_defect"]["for_recall"]
    assert (report["defects"], report["defects_needed"], report["on_other_photos"]["folds"]) == (3, 299, 2)
    assert report["on_other_photos"]["false_alarms"].keys() == {"value", "low", "high"}
    section = format_card_section(evaluation)
    assert "on photos left out of the choice (2 folds)" in section
    assert "more than 3 defects can show" in section


def test_the_chosen_point_is_in_the_figure(labelled, model, tmp_path, monkeypatch):
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *to, **how: drawn.append(figure) or save(figure, *to, **how))
    chosen = evaluate(settings(labelled, model, tmp_path, positive="class-1")).threshold
    curve, point = drawn[0].axes[1].lines[-2:]
    assert point.get_xydata().tolist() == [[chosen.false_alarms, chosen.recall]]
    assert point.get_xydata()[0].tolist() in curve.get_xydata().tolist()
    evaluate(settings(labelled, model, tmp_path))
    assert drawn[1].axes[1].lines[-1].get_label().startswith("class-")


def test_no_photo_can_be_read(labelled, model, tmp_path):
    for photo in labelled.parent.glob("*.png"):
        photo.write_bytes(b"")
    with pytest.raises(DataError, match=r"no photo can be read, photo-0006.png: empty file"):
        evaluate(settings(labelled, model, tmp_path))


def test_groups_of_the_models_split_csv_are_the_units(labelled, tmp_path):
    model = save_tiny_vit(tmp_path / "tiny")
    names = [line.partition(",")[0] for line in labelled.read_text().splitlines()[1:]]
    rows = [f"{name},x,test,.,{index // 2}" for index, name in enumerate(names)]
    (model / "split.csv").write_text("\n".join(["path,label,split,root,group", *rows]) + "\n")
    evaluate(settings(labelled, model, tmp_path))
    report = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert (report["photos"], report["resampled"]) == (5, "groups")
    evaluate(settings(labelled, model, tmp_path, group="photo"))
    assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["resampled"] == "photos"


def test_photos_that_look_alike_are_one_witness(labelled, model, tmp_path):
    """Under `similar`, a photo saved twice counts once; the comparison with a second model resamples groups too."""
    folder = labelled.parent
    names = [line.partition(",")[0] for line in labelled.read_text().splitlines()[1:]]
    with Image.open(folder / names[6]) as photo:
        photo.save(folder / "again.png", compress_level=1)
    labelled.write_text(labelled.read_text() + "again.png,class-0,test\n")
    found = evaluate(settings(labelled, model, tmp_path, group="similar", against=str(model)))
    assert found.resampled == "groups"
    assert len(set(found.families.tolist())) == len(found.families) - 1
    assert found.comparison.resampled == "groups"
    card = format_card_section(found)
    assert f"with 95% intervals from {len(found.families) - 1} groups of photos, drawn as a whole" in card
