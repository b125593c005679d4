"""One scale for all overlays: the model's, the run's or a number; the same in every process and when drawn later."""

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.errors import ConfigError, ModelError, StoreError
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.map_scale import MapScale, MapScales, write_map_scales
from pipeline.model.open import OpenedModel
from pipeline.model.targets import LabelGroup, Targets
from pipeline.overlays.scale import find_model_span, keep_span, read_kept_span
from pipeline.results.files import ResultsFiles
from tests.helpers.photos import save_photos

LABEL = MapScale("libragrad", "label", None, 0.0, 0.5, 60)
EVIDENCE = MapScale("libragrad", "defects", "good", 0.0, 0.25, 40)
EVIDENCE_TARGETS = Targets(LabelGroup((1, 2), "defects"), versus=LabelGroup((0,), "good"))
GROUPS = {"target": "defects", "versus": "good", "positive": "class-1,class-2"}


@pytest.fixture
def model(tmp_path, tiny_vit):
    """A model of three classes with scales, in a folder of its own."""
    folder = shutil.copytree(tiny_vit, tmp_path / "model")
    digest = resolve_checkpoint(str(folder)).digest()
    write_map_scales(folder, MapScales((LABEL, EVIDENCE), digest, None, "fp32"))
    return folder


@pytest.fixture
def opened(model):
    return OpenedModel(resolve_checkpoint(str(model)), "cpu", "fp32", None)


@pytest.fixture
def start(tmp_path, model):
    """Runs over twelve photos into a folder of tmp_path."""
    save_photos(tmp_path / "photos", 12)
    common = {"input": tmp_path / "photos", "model": str(model), "workers": 1, "precision": "fp32", "report": False}
    return lambda out, **settings: pipeline.run(**common | {"out": tmp_path / out, "part_rows": 5} | settings)


def overlays_of(out):
    files = (out / "overlays").rglob("*.png.png")
    return {file.name.removesuffix(".png"): np.asarray(Image.open(file)).astype(int) for file in files}


def bytes_of(out):
    files = [file for top in ("overlays", "thumbnails") for file in sorted((out / top).rglob("*")) if file.is_file()]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


# The setting


def test_the_scale_of_the_model_is_for_labels_it_was_measured_with(opened, caplog):
    caplog.set_level(logging.INFO)
    assert find_model_span("auto", "libragrad", Targets(), opened) == (0, 0.5)
    assert find_model_span("model", "libragrad", EVIDENCE_TARGETS, opened) == (0, 0.25)
    assert find_model_span("auto", "rollout", Targets(), opened) is None
    assert find_model_span("photo", "libragrad", Targets(), opened) is None
    assert find_model_span("run", "libragrad", Targets(), opened) is None
    assert find_model_span(3.5, "rollout", Targets(), opened) == (0, 3.5)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("change", "method", "words"),
    [
        ({}, "legrad", "has none for these labels by legrad"),
        ({"input_size": (64, 64)}, "libragrad", "was measured with another --input-size"),
        (None, "libragrad", "has no map_scale.json"),
    ],
)
def test_without_a_scale_photos_have_their_own_and_the_log_says_so(model, opened, caplog, change, method, words):
    caplog.set_level(logging.INFO)
    if change is None:
        (model / "map_scale.json").unlink()
    elif change:
        opened = OpenedModel(opened.checkpoint, "cpu", "fp32", **change)
    assert find_model_span("auto", method, Targets(), opened) is None
    (message,) = caplog.messages
    assert words in message
    assert message.endswith("--scale run takes one for all")
    with pytest.raises(ConfigError, match=rf"scale = model: .*{words}; name run, photo or a number"):
        find_model_span("model", method, Targets(), opened)


def test_the_scale_of_another_model_stops_a_run(model, start):
    file = model / "map_scale.json"
    file.write_text(file.read_text().replace('"model_digest": "', '"model_digest": "0'))
    with pytest.raises(ModelError, match="measured with other weights"):
        start("out", method="libragrad")
    assert start("plain", method="rollout").ok == 12
    assert start("photo", method="libragrad", scale="photo").ok == 12


# Kept in the results folder


def test_the_first_to_keep_a_scale_decides(tmp_path):
    for folder in ("runs", "tmp"):
        (tmp_path / folder).mkdir()
    files = ResultsFiles(tmp_path, "photos", "20260101T000000Z")
    assert read_kept_span(tmp_path, "f", "run") is None
    assert keep_span(files, "f", "run", lambda: None) is None

    def find_while_another_process_does():
        assert keep_span(files, "f", "run", lambda: (0.0, 2.0)) == (0, 2)
        return 0.0, 3.0

    assert keep_span(files, "f", "run", find_while_another_process_does) == (0, 2)
    assert keep_span(files, "f", "run", lambda: pytest.fail("it is there")) == (0, 2)
    assert read_kept_span(tmp_path, "f", "model") is None


@pytest.mark.parametrize("content", ["", "{}", '{"low": 1, "high": 1}', '{"low": 0, "high": NaN}', "[]"])
def test_a_damaged_scale_is_named(tmp_path, content):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "f.run-scale").write_text(content)
    with pytest.raises(StoreError, match=r"f\.run-scale.*remove it, and the next run keeps a scale again"):
        read_kept_span(tmp_path, "f", "run")


# Through a whole run


def test_a_scale_changes_pictures_and_no_numbers(start, tmp_path):
    for scale in ("photo", "auto", "model", LABEL.high, 1e9):
        start(f"out-{scale}", method="libragrad", scale=scale)
    photo, auto, model, number, dark = (
        overlays_of(tmp_path / f"out-{scale}") for scale in ("photo", "auto", "model", LABEL.high, 1e9)
    )
    for name in photo:
        np.testing.assert_array_equal(auto[name], number[name])
        np.testing.assert_array_equal(model[name], number[name])
        assert np.abs(photo[name] - dark[name]).max() > 50, "on its own scale each photo glows"
        assert (photo[name] != number[name]).any()
    rows, others = (pipeline.read_results(tmp_path / f"out-{scale}") for scale in ("photo", "model"))
    assert rows["fingerprint"].tolist() == others["fingerprint"].tolist()
    np.testing.assert_array_equal(np.stack(rows["attention"]), np.stack(others["attention"]))
    record = json.loads(next((tmp_path / "out-model" / "runs").glob("*Z.json")).read_text())
    assert record["settings"]["scale"] == "model"


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "libragrad"},
        {"method": "libragrad", "scale": "run"},
        {"method": "rollout", "scale": "run", "style": "article"},
        {"method": "libragrad", "scale": 0.3},
        {"method": "libragrad", "scale": "photo"},
        GROUPS,
        GROUPS | {"scale": "run"},
    ],
    ids=str,
)
def test_drawn_later_without_the_model_s_file_the_pictures_are_the_same(start, tmp_path, model, settings):
    start("whole", **settings)
    wanted = bytes_of(tmp_path / "whole")
    (model / "map_scale.json").unlink()
    shutil.rmtree(tmp_path / "whole" / "overlays")
    assert pipeline.draw_overlays(out=tmp_path / "whole", workers=1).drawn == 12
    assert bytes_of(tmp_path / "whole") == wanted


def test_the_scale_of_a_run_is_that_of_its_photos_and_the_next_run_goes_on_with_it(start, tmp_path):
    settings = {"method": "libragrad", "scale": "run"}
    start("out", limit=5, **settings)
    rows = pipeline.read_results(tmp_path / "out")
    hot = np.stack(rows["attention"].to_list()).max(axis=1)
    span = read_kept(tmp_path / "out")
    assert span == pytest.approx((0, np.percentile(hot, 95)), rel=1e-5)
    start("out", **settings)
    assert read_kept(tmp_path / "out") == span


def read_kept(out):
    (file,) = (out / "runs").glob("*.run-scale")
    return read_kept_span(out, file.name.partition(".")[0], "run")


def test_two_devices_draw_on_the_scale_of_one(start, tmp_path):
    settings = GROUPS | {"scale": "run", "batch_size": 2, "device": "cpu"}
    start("one", **settings)
    start("two", devices=2, **settings)
    assert read_kept(tmp_path / "two") == pytest.approx(read_kept(tmp_path / "one"), rel=1e-5)
    one, two = (overlays_of(tmp_path / name) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert max(np.abs(one[name] - two[name]).max() for name in one) <= 1


def test_later_overlays_can_have_another_scale(start, tmp_path):
    start("out", method="libragrad", scale="photo")
    start("fixed", method="libragrad", scale=0.3)
    pipeline.draw_overlays(out=tmp_path / "out", workers=1, redraw=True, scale=0.3)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "fixed")
    with pytest.raises(ConfigError, match=r"scale = run: no run has kept such a scale in .*; name photo or a number"):
        pipeline.draw_overlays(out=tmp_path / "out", workers=1, redraw=True, scale="run")
