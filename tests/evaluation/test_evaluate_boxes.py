"""An evaluation of windows against boxes, from photos to files."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

import pipeline
from jobs.evaluate import evaluate_command
from pipeline.errors import DataError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.detections import is_same_place
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.measure import gather_scores
from pipeline.evaluation.result import PredictedPhoto
from pipeline.evaluation.write import format_card_section
from pipeline.labelled.read import read_labelled_photos
from tests.helpers.boxed_photos import save_boxed_photos
from tests.helpers.models import save_tiny_vit

LABELS = ("ok", "crack", "hole")
TILE = 48
CORNERS = ("x0", "y0", "x1", "y1")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_tiny_vit(tmp_path_factory.mktemp("model") / "tiny")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(number): label for number, label in enumerate(LABELS)}
    config["label2id"] = {label: number for number, label in enumerate(LABELS)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def boxes_csv(tmp_path):
    return save_boxed_photos(tmp_path / "photos", 6, labels=("crack", "hole"))


@pytest.fixture
def settings(model, boxes_csv, tmp_path):
    """A function for the settings of a quick evaluation of windows."""

    def make(**changes):
        start = {"data": boxes_csv, "model": str(model), "out": tmp_path / "evaluation", "tile": TILE}
        return EvaluateConfig(**start | {"resamples": 5, "workers": 1, "precision": "fp32"} | changes)

    return make


def read_report(config):
    return json.loads((config.out / "metrics.json").read_text())


def read_predictions(config):
    return pd.read_parquet(config.out / "predictions.parquet").set_index("path")


def corners_of(box):
    return tuple(box[name] for name in CORNERS)


def test_command_writes_detections_and_their_figures(model, boxes_csv, tmp_path):
    out = tmp_path / "evaluation"
    options = {"--model": model, "--out": out, "--tile": TILE, "--detect-from": 0.8, "--resamples": 5, "--workers": 1}
    words = [str(word) for option in options.items() for word in option]
    done = CliRunner().invoke(evaluate_command, [str(boxes_csv), *words])
    assert done.exit_code == 0, done.output
    report = json.loads((out / "metrics.json").read_text())["detection"]
    assert (report["photos"], report["boxes"], report["detect_from"]) == (6, 8, 0.8)
    assert set(report["average_precision"]) == {"crack", "hole"}
    summary = json.loads(done.stdout.splitlines()[-1])["detection"]
    for name in ("recall", "false_alarms_per_photo", "precision", "f1", "ap0.33", "ap0.50"):
        assert summary[name] == pytest.approx(report["metrics"][name]["value"], abs=1e-4)
    assert [point["threshold"] for point in report["curve"]] == sorted(
        (point["threshold"] for point in report["curve"]), reverse=True
    )
    with Image.open(out / "detection.png") as figure:
        assert figure.width > 500


def test_the_figures_are_those_of_the_boxes_in_the_table(settings, boxes_csv):
    config = settings(detect_from=0.4)
    evaluate(config)
    table, report = read_predictions(config), read_report(config)["detection"]
    known = {photo.name: photo for photo in read_labelled_photos(boxes_csv)}
    found = alarms = 0
    for name, row in table.iterrows():
        true = [corners_of(box) for box in row["boxes"]]
        assert true == [box.box for box in known[name].boxes]
        assert [box["label"] for box in row["boxes"]] == [box.label for box in known[name].boxes]
        sure = [corners_of(one) for one in row["detections"] if one["score"] >= 0.4]
        found += sum(any(is_same_place(box, one) for one in sure) for box in true)
        alarms += sum(not any(is_same_place(box, one) for box in true) for one in sure)
        assert {one["label"] for one in row["detections"]} <= {"crack", "hole"}
        assert all(pd.isna(box["score"]) for box in row["boxes"])
    assert 0 < found < 8
    assert alarms > 0
    assert report["metrics"]["recall"]["value"] == pytest.approx(found / 8)
    assert report["metrics"]["false_alarms_per_photo"]["value"] == pytest.approx(alarms / 6)
    assert report["curve"][-1]["recall"] >= report["metrics"]["recall"]["value"]


def test_detections_are_those_of_a_run(settings, model, boxes_csv, tmp_path):
    config = settings()
    evaluate(config)
    common = {"workers": 1, "precision": "fp32", "tile": TILE, "report": False}
    pipeline.run(pipeline.RunConfig(input=boxes_csv.parent, out=tmp_path / "run", model=str(model), **common))
    ran = pipeline.read_results(tmp_path / "run").set_index("path")["detections"]
    table = read_predictions(config)["detections"]
    assert sum(map(len, table)) > 6
    for name in table.index:
        assert [one["label"] for one in table[name]] == [one["label"] for one in ran[name]]
        for key in (*CORNERS, "score"):
            np.testing.assert_allclose([one[key] for one in table[name]], [one[key] for one in ran[name]], atol=1e-3)


def test_without_boxes_nothing_else_changes(settings, boxes_csv, caplog):
    """The same photos and labels, with boxes and without."""
    config = settings()
    evaluate(config)
    with_boxes, table = read_report(config), read_predictions(config)
    assert with_boxes["detection"] is not None
    for name in ("detection.png", "metrics.json", "predictions.parquet"):
        (config.out / name).unlink()
    labels = boxes_csv.with_name("labels.csv")
    table[["label"]].to_csv(labels, index_label="path")
    plain_config = settings(data=labels)
    evaluation = evaluate(plain_config)
    plain, plain_table = read_report(plain_config), read_predictions(plain_config)
    assert evaluation.detections is plain["detection"] is None
    assert not (plain_config.out / "detection.png").exists()
    assert plain_table["boxes"].map(len).sum() == plain_table["detections"].map(len).sum() == 0
    np.testing.assert_allclose(np.stack(plain_table["probabilities"]), np.stack(table["probabilities"]), atol=1e-6)
    assert plain["any_defect"] == with_boxes["any_defect"]
    assert "boxes" not in format_card_section(evaluation)
    assert "to compare with detections" not in caplog.text


def test_boxes_without_windows_are_a_hint_in_the_log(settings, caplog):
    caplog.set_level("INFO")
    config = settings(tile=None)
    evaluation = evaluate(config)
    assert "the data has boxes, but photos are not cut into windows, so none are found; give --tile" in caplog.text
    assert evaluation.detections is None
    assert not (config.out / "detection.png").exists()
    assert read_predictions(config)["boxes"].map(len).sum() == 8


def test_boxes_larger_than_a_window_are_counted_in_the_log(settings, caplog):
    evaluate(settings(tile=20))
    assert "4 of 8 boxes are larger than a window of 20 pixels: no window shows these defects whole" in caplog.text


def test_a_label_of_a_box_unknown_to_the_model_is_refused(settings, boxes_csv):
    """Also of a box whose photo has another label."""
    text = boxes_csv.read_text()
    first = text.splitlines()[1]
    boxes_csv.write_text(text.replace(first, f"{first}\n{first}\n{first.replace('crack', 'stain')}"))
    with pytest.raises(DataError, match="'stain' of the data is not a class of the model"):
        evaluate(settings())


def test_a_photo_that_cannot_be_read_is_not_among_the_figures(settings, boxes_csv):
    (boxes_csv.parent / "00.png").write_bytes(b"broken")
    config = settings()
    evaluate(config)
    assert (read_report(config)["detection"]["photos"], read_report(config)["detection"]["boxes"]) == (5, 6)
    row = read_predictions(config).loc["00.png"]
    assert (row["status"], row["detections"]) == ("failed", None)


def test_the_card_has_a_table_of_detections(settings):
    section = format_card_section(evaluate(settings()))
    assert "Defects found, on 6 photos with 8 boxes, by detections with a score of 0.5 or more" in section
    for title in ("recall", "false alarms per photo", "precision", "f1", "average precision at IoU 0.33"):
        assert f"| {title} |" in section


@pytest.mark.parametrize(("answer", "truth"), [("crack", "crack"), ("hole", "hole"), ("ok", "crack")])
def test_each_kind_of_defect_in_a_photo_is_a_right_answer(boxes_csv, answer, truth):
    """A photo with a crack and a hole: the classifier has one answer, and the label only one of them."""
    photo = read_labelled_photos(boxes_csv)[0]
    prediction = PredictedPhoto(photo, np.where(np.array(LABELS) == answer, 0.8, 0.1))
    scores = gather_scores([prediction], LABELS, "all", ("crack", "hole"))
    assert [LABELS[number] for number in scores.truth] == [truth]
