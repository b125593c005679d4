"""Large photos in windows, from files to rows: a tiny model with random weights, real processes."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import pipeline
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain
from pipeline.maps.hot_regions import find_hot_regions
from pipeline.model.predictor import Predictor
from pipeline.model.tiled_predictor import TiledPredictor
from pipeline.overlays.config import OverlaysConfig
from pipeline.overlays.draw_rows import draw_overlays
from pipeline.photos import load_photo, load_tasks, windows
from pipeline.photos.tiling import Tiling
from pipeline.photos.windows import cut_windows, unpack_photo
from pipeline.report.write_page import write_report
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos

LABELS = ("ok", "crack", "hole")


def save_model(folder, labels=LABELS):
    save_tiny_vit(folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(number): label for number, label in enumerate(labels)}
    config["label2id"] = {label: number for number, label in enumerate(labels)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("tiles") / "model")


def run(model, photos, out, **settings):
    settings = {"precision": "fp32", "report": False, "method": ("rollout",)} | settings
    pipeline.run(pipeline.RunConfig(input=photos, out=out, model=str(model), **settings))
    return pipeline.read_results(out).set_index("path").sort_index()


def save_noise(file, size, seed=0, **options):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, **options)


def cut_by_hand(photo, folder, size=64, overlap=0.5):
    """Save each window of a photo as a photo of its own; return the windows."""
    folder.mkdir()
    with Image.open(photo) as image:
        boxes = Tiling(size, overlap).cut(*image.size)
        for number, box in enumerate(boxes):
            image.convert("RGB").crop(box).save(folder / f"{number:03}.png")
    return boxes


@pytest.mark.parametrize("size", [(200, 150), (64, 97), (64, 64)])
def test_a_photo_in_windows_says_what_its_windows_say_alone(model, tmp_path, size):
    """The window with the most of a defect decides: its logits are those of the same window as a photo of its own."""
    photos = tmp_path / "photos"
    photos.mkdir()
    save_noise(photos / "large.png", size)
    row = run(model, photos, tmp_path / "out", tile=64).loc["large.png"]
    boxes = cut_by_hand(photos / "large.png", tmp_path / "windows")
    alone = run(model, tmp_path / "windows", tmp_path / "alone", tile=None)
    logits = np.stack(alone["logits"])
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    decides = int((odds[:, 1:].sum(axis=1) / odds.sum(axis=1)).argmax())
    np.testing.assert_allclose(row["logits"], logits[decides], rtol=1e-5, atol=1e-6)
    assert (row["tile"], row["tiles"], list(row["tile_box"])) == (64, len(boxes), list(boxes[decides]))
    assert row["label"] == alone["label"].iloc[decides]
    np.testing.assert_allclose(row["map_box"], (0, 0, *size), atol=1e-4)
    for detection in row["detections"]:
        assert detection["label"] in LABELS[1:]
        assert 0 <= detection["x0"] < detection["x1"] <= size[0]
        assert 0 <= detection["y0"] < detection["y1"] <= size[1]
        assert 0.05 <= detection["score"] <= 1


def test_a_photo_of_one_window_is_a_photo_as_before(model, tmp_path, caplog):
    caplog.set_level("INFO")
    save_photos(tmp_path / "photos", 3, size=(48, 40))
    plain, tiled = (
        run(model, tmp_path / "photos", tmp_path / f"out-{tile}", tile=tile, batch_size=1) for tile in (None, 64)
    )
    for name, row in plain.iterrows():
        np.testing.assert_array_equal(row["logits"], tiled.loc[name, "logits"])
        np.testing.assert_array_equal(row["attention"], tiled.loc[name, "attention"])
        np.testing.assert_array_equal(row["map_box"], tiled.loc[name, "map_box"])
        assert (row["label"], row["score"]) == (tiled.loc[name, "label"], tiled.loc[name, "score"])
    assert tiled["tiles"].tolist() == [1, 1, 1]
    assert plain["tiles"].isna().all()
    assert set(plain["fingerprint"]) != set(tiled["fingerprint"])
    assert "no photo was larger than --tile 64, so each was one window" in caplog.text


def test_without_a_good_class_the_mean_of_the_windows_counts(tmp_path):
    model = save_model(tmp_path / "model", ("cat", "dog", "bird"))
    (tmp_path / "photos").mkdir()
    save_noise(tmp_path / "photos" / "large.png", (150, 100))
    row = run(model, tmp_path / "photos", tmp_path / "out", tile=64).loc["large.png"]
    cut_by_hand(tmp_path / "photos" / "large.png", tmp_path / "windows")
    logits = np.stack(run(model, tmp_path / "windows", tmp_path / "alone", tile=None)["logits"])
    mean = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(np.exp(row["logits"]) / np.exp(row["logits"]).sum(), mean, atol=1e-5)
    assert row["score"] == pytest.approx(mean.max(), abs=1e-5)
    assert row["tile_box"] is None
    assert len(row["detections"]) == 0


def test_turned_deep_and_odd_files_are_cut_upright(model, tmp_path):
    """A photo turned by its EXIF orientation, in 16 bits, as a TIFF, as a JPEG: the rows of the same upright pixels."""
    photos = tmp_path / "photos"
    photos.mkdir()
    grey = np.asarray(Image.fromarray(np.random.default_rng(1).integers(0, 256, (6, 8), np.uint8)).resize((201, 133)))
    Image.fromarray(grey).save(photos / "plain.png")
    turned = Image.fromarray(grey).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(photos / "turned.png", exif=exif)
    Image.fromarray(grey.astype(np.uint16) * 257).save(photos / "deep.png")
    Image.fromarray(grey).save(photos / "plain.tif", compression="tiff_lzw")
    Image.fromarray(grey).save(photos / "large.jpg", quality=100)
    table = run(model, photos, tmp_path / "out", tile=64)
    assert set(table["status"]) == {"ok"}
    assert set(zip(table["width"], table["height"], strict=True)) == {(201, 133)}
    plain = table.loc["plain.png"]
    for name in ("turned.png", "deep.png", "plain.tif"):
        np.testing.assert_allclose(table.loc[name, "logits"], plain["logits"], atol=1e-5)
        np.testing.assert_allclose(table.loc[name, "attention"], plain["attention"], atol=1e-6)
    np.testing.assert_allclose(table.loc["large.jpg", "attention"], plain["attention"], atol=1e-2)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_windows_of_several_photos_share_batches_and_stay_apart(model, tmp_path, batch_size):
    photos = tmp_path / "photos"
    photos.mkdir()
    sizes = [(100, 80), (64, 64), (200, 64), (30, 20), (65, 65), (90, 130)]
    for number, size in enumerate(sizes):
        save_noise(photos / f"{number}.png", size, seed=number)
    (photos / "broken.png").write_bytes(b"nothing")
    table = run(model, photos, tmp_path / "out", tile=64, batch_size=batch_size)
    assert table.loc["broken.png", "status"] == "failed"
    for number, size in enumerate(sizes):
        (tmp_path / f"one-{number}").mkdir()
        (photos / f"{number}.png").rename(tmp_path / f"one-{number}" / f"{number}.png")
        alone = run(model, tmp_path / f"one-{number}", tmp_path / f"out-{number}", tile=64).loc[f"{number}.png"]
        row = table.loc[f"{number}.png"]
        np.testing.assert_allclose(row["logits"], alone["logits"], atol=1e-5)
        np.testing.assert_allclose(row["attention"], alone["attention"], atol=1e-6)
        assert row["tiles"] == alone["tiles"] == Tiling(64).count(*size)


def test_a_model_can_name_its_windows(tmp_path, caplog):
    model = save_model(tmp_path / "model")
    config = json.loads((model / "config.json").read_text()) | {"vitrollout_tile": 32}
    (model / "config.json").write_text(json.dumps(config))
    (tmp_path / "photos").mkdir()
    save_noise(tmp_path / "photos" / "large.png", (100, 80))
    with caplog.at_level("INFO"):
        by_model = run(model, tmp_path / "photos", tmp_path / "a").loc["large.png"]
    assert "tile = 32: the model learned from windows of this size" in caplog.text
    assert by_model["tile"] == 32
    assert np.isnan(run(model, tmp_path / "photos", tmp_path / "b", tile=None).loc["large.png", "tile"])
    given = run(model, tmp_path / "photos", tmp_path / "c", tile=32).loc["large.png"]
    assert given["fingerprint"] == by_model["fingerprint"]
    config["vitrollout_tile"] = "wide"
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(pipeline.VitrolloutError, match="vitrollout_tile = 'wide' in its"):
        run(model, tmp_path / "photos", tmp_path / "d")


def test_a_decision_chosen_on_windows_names_them(tmp_path, caplog):
    model = save_model(tmp_path / "model")
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = ["path,label,split"]
    for number in range(12):
        save_noise(photos / f"{number}.png", (100, 80), seed=number)
        rows.append(f"photos/{number}.png,{LABELS[number % 2]},{'validation' if number < 8 else 'test'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    settings = {"data": tmp_path / "labels.csv", "out": tmp_path / "measured", "model": str(model)}
    evaluate(EvaluateConfig(**settings, tile=32, resamples=0, precision="fp32", save_decision=True))
    assert json.loads((model / "decision.json").read_text())["chosen_on"]["tile"] == 32
    assert json.loads((tmp_path / "measured" / "metrics.json").read_text())["settings"]["tile"] == 32
    caplog.set_level("INFO")
    row = run(model, photos, tmp_path / "auto", limit=1).iloc[0]
    assert "tile = 32: the model's decision was chosen on windows of this size" in caplog.text
    assert row["tile"] == 32
    assert row["decision"] in ("pass", "review", "reject")
    assert explain(ExplainConfig(image=photos / "0.png", model=str(model), precision="fp32")).window is not None
    assert "thresholds may not fit" not in caplog.text
    run(model, photos, tmp_path / "whole", limit=1, tile=None)
    assert "decision.json was chosen with --tile 32: with --tile none scores differ" in caplog.text


def test_windows_smaller_than_a_patch_are_refused(tmp_path):
    save_tiny_vit(tmp_path / "model", patch_size=16, image_size=64)
    save_photos(tmp_path / "photos", 1)
    with pytest.raises(pipeline.VitrolloutError, match="tile = 8: windows of 8 pixels are smaller than one patch"):
        run(tmp_path / "model", tmp_path / "photos", tmp_path / "out", tile=8)


def test_a_redrawn_overlay_is_the_same_to_the_byte(model, tmp_path):
    (tmp_path / "photos").mkdir()
    save_noise(tmp_path / "photos" / "large.jpg", (1300, 900), quality=90)
    table = run(model, tmp_path / "photos", tmp_path / "out", tile=400, overlay_size=500)
    assert any(detection["score"] >= 0.5 for detection in table["detections"].iloc[0])
    overlay = tmp_path / "out" / table["overlay"].iloc[0]
    first = overlay.read_bytes()
    overlay.unlink()
    draw_overlays(OverlaysConfig(out=tmp_path / "out"))
    assert overlay.read_bytes() == first


def test_the_gallery_knows_the_defects(model, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    save_noise(photos / "large.png", (200, 150))
    (photos / "broken.png").write_bytes(b"nothing")
    table = run(model, photos, tmp_path / "out", tile=64)
    write_report(tmp_path / "out")
    (file,) = (tmp_path / "out" / "report").glob("*/index.js")
    data = file.parent
    likely = [one for one in table.loc["large.png", "detections"] if one["score"] >= 0.5]
    index = json.loads((data / "index.js").read_text().removeprefix("vitrolloutIndex(").removesuffix(");\n"))
    assert index["defects"] == [0, len(likely)]
    text = (data / "rows-0.js").read_text()
    _, row = json.loads("[" + text.removeprefix("vitrolloutRows(").removesuffix(");\n") + "]")[1]
    assert [one["label"] for one in row["defects"]] == [one["label"] for one in likely]
    assert 'name="defects"' in (tmp_path / "out" / "report.html").read_text()


def test_a_worker_that_dies_while_cutting_costs_its_photo_alone(model, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        save_noise(photos / f"{number}.png", (200, 150 + number), seed=number)

    def die_at_one_photo(task, prepare):
        if task.size == (200, 152):
            os.kill(os.getpid(), signal.SIGKILL)
        return cut_windows(task, prepare)

    monkeypatch.setattr(load_tasks, "cut_windows", die_at_one_photo)  # workers are forked, so it holds there, too
    table = run(model, photos, tmp_path / "out", tile=64)
    assert table["status"].tolist() == ["ok", "ok", "failed", "ok"]
    assert table.loc["2.png", "error"] == "its windows can't be cut (exit code -9)"
    monkeypatch.undo()
    assert run(model, photos, tmp_path / "out", tile=64).loc["2.png", "status"] == "ok", "no verdict on its bytes"


def test_a_stop_does_not_wait_for_a_large_photo(model, tmp_path, monkeypatch):
    """Rows before it stay; the photo itself waits for the next run."""
    photos = tmp_path / "photos"
    photos.mkdir()
    save_noise(photos / "a.png", (64, 64))
    save_noise(photos / "b.png", (800, 600))  # 432 windows
    batches = []

    def launch(self, pixels, targets=None):
        batches.append(len(pixels))
        return Predictor.launch(self, pixels, targets)

    monkeypatch.setattr(TiledPredictor, "launch", launch)
    config = pipeline.RunConfig(
        input=photos, out=tmp_path / "out", model=str(model), tile=64, batch_size=8, report=False, precision="fp32"
    )
    summary = pipeline.run(config, stop=lambda: len(batches) > 5)
    assert summary.interrupted
    assert sum(batches) < 100
    assert pipeline.read_results(tmp_path / "out")["path"].tolist() == ["a.png"]
    batches.clear()
    assert pipeline.run(config).ok == 1
    assert sum(batches) == 432
    assert sorted(pipeline.read_results(tmp_path / "out")["path"]) == ["a.png", "b.png"]


def test_a_full_disk_for_temporary_files_is_named(model, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    save_noise(photos / "large.png", (200, 150))
    save_photos(photos, 1)

    def refuse(rgb, path):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows, "open", lambda *_: open("/dev/full", "wb"), raising=False)  # noqa: SIM115
            unpack_photo(rgb, path)

    monkeypatch.setattr(load_photo, "unpack_photo", refuse)
    table = run(model, photos, tmp_path / "out", tile=64)
    assert table["status"].tolist() == ["failed", "ok"]
    assert "no room for its 0 MB of pixels among temporary files" in table.loc["large.png", "error"]
    assert "set TMPDIR to a folder on a larger disk" in table.loc["large.png", "error"]


@pytest.mark.parametrize("average_turns", [False, True])
def test_an_evaluation_sees_the_windows_of_a_run(model, tmp_path, average_turns):
    """The score of each photo is that of a run; averaged over turns, about that of eight runs over turned photos."""
    data = tmp_path / "data"
    for number, label in enumerate(LABELS):
        (data / label).mkdir(parents=True)
        save_noise(data / label / "square.png", (128, 128), seed=number)
    evaluate(
        EvaluateConfig(
            data=data, out=tmp_path / "out", model=str(model), precision="fp32", tile=64, resamples=0,
            average_turns=average_turns,
        )
    )  # fmt: skip
    predicted = pd.read_parquet(tmp_path / "out" / "predictions.parquet").set_index("path")
    for quarters in range(4) if average_turns else [0]:
        for mirrored in (False, True) if average_turns else [False]:
            for file in data.rglob("*.png"):
                image = np.rot90(np.asarray(Image.open(file)), quarters)
                place = tmp_path / "turned" / file.relative_to(data).with_stem(f"{quarters}{mirrored}")
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image[:, ::-1] if mirrored else image).save(place)
    table = run(model, tmp_path / "turned", tmp_path / "run", tile=64)
    logits = np.stack(table["logits"])
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for label in LABELS:
        expected = scores[table.index.str.startswith(label)]
        assert len(expected) == (8 if average_turns else 1)
        np.testing.assert_allclose(
            predicted.loc[f"{label}/square.png", "probabilities"],
            expected.mean(axis=0),
            atol=5e-3 if average_turns else 1e-5,
        )


def test_an_explanation_shows_the_deciding_window(model, tmp_path):
    """Prediction, map and defects are those of a run; the heads are those of the window that decides."""
    photos = tmp_path / "photos"
    photos.mkdir()
    save_noise(photos / "large.png", (200, 150))
    row = run(model, photos, tmp_path / "out", tile=64).loc["large.png"]
    settings = {"model": str(model), "precision": "fp32", "method": "rollout"}
    explanation = explain(ExplainConfig(image=photos / "large.png", tile=64, **settings))
    np.testing.assert_allclose(explanation.prediction.logits, row["logits"], atol=1e-5)
    np.testing.assert_allclose(explanation.prediction.attention.ravel(), row["attention"], atol=1e-6)
    assert list(explanation.window) == list(row["tile_box"])
    likely = [one for one in row["detections"] if one["score"] >= 0.5]
    assert [LABELS[one.label_id] for one in explanation.detections] == [one["label"] for one in likely]
    with Image.open(photos / "large.png") as image:
        image.crop(explanation.window).save(tmp_path / "window.png")
    alone = explain(ExplainConfig(image=tmp_path / "window.png", tile=None, **settings))
    np.testing.assert_allclose(explanation.heads, alone.heads, atol=1e-6)
    np.testing.assert_allclose(explanation.filmstrip, alone.filmstrip, atol=1e-6)


def test_a_notebook_sees_the_windows_of_a_run(model, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    save_noise(photos / "large.png", (200, 150))
    save_photos(photos, 1)
    table = run(model, photos, tmp_path / "out", tile=64)
    loaded = pipeline.load_model(str(model), method="rollout", precision="fp32", tile=64)
    files = [photos / name for name in table.index]
    in_memory = [Image.open(file) for file in files]
    for predicted in (loaded.predict(files), loaded.predict(in_memory)):
        for one, (_, row) in zip(predicted, table.iterrows(), strict=True):
            np.testing.assert_allclose(one.logits, row["logits"], atol=1e-5)
            np.testing.assert_allclose(one.map.ravel(), row["attention"], atol=1e-6)
            np.testing.assert_allclose(one.map_box, row["map_box"], atol=1e-4)
            assert [found["label"] for found in one.detections] == [found["label"] for found in row["detections"]]
    large = loaded.predict(photos / "large.png")[0]
    assert large.overlay() != replace(large, detections=()).overlay(), "the defects are drawn"


@pytest.mark.parametrize("target", ["top1", "crack", "defects"])
def test_maps_that_explain_a_label_are_stitched_too(model, tmp_path, target):
    photos = tmp_path / "photos"
    photos.mkdir()
    save_noise(photos / "large.png", (200, 150))
    row = run(model, photos, tmp_path / "out", tile=64, method=("libragrad", "rollout"), target=target).loc["large.png"]
    assert row["target"] == (row["label"] if target == "top1" else target)
    assert len(row["attention"]) == row["grid_h"] * row["grid_w"] == len(dict(row["more_maps"])["rollout"])
    rollout = run(model, photos, tmp_path / "plain", tile=64).loc["large.png"]
    np.testing.assert_allclose(dict(row["more_maps"])["rollout"], rollout["attention"], atol=1e-6)


def test_the_windows_of_the_current_rows_are_kept(model, tmp_path):
    """The second table says of each window what the row says of the deciding one; a later run replaces them."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, size in enumerate([(200, 150), (60, 60)]):
        save_noise(photos / f"{number}.png", size, seed=number)
    table = run(model, photos, tmp_path / "out", tile=64, keep_tiles=True)
    windows = pipeline.read_tiles(tmp_path / "out")
    assert windows.groupby("path").size().to_dict() == {"0.png": table.loc["0.png", "tiles"], "1.png": 1}
    for name, row in table.iterrows():
        own = windows[windows["path"] == name]
        deciding = own.loc[own["defect_score"].idxmax()]
        assert list(deciding[["x0", "y0", "x1", "y1"]]) == list(row["tile_box"])
        np.testing.assert_array_equal(deciding["logits"], row["logits"])
        assert (deciding["label"], deciding["content_hash"]) == (row["label"], row["content_hash"])
    save_noise(photos / "0.png", (130, 97), seed=5)
    again = run(model, photos, tmp_path / "out", tile=64, keep_tiles=True)
    windows = pipeline.read_tiles(tmp_path / "out")
    assert windows.groupby("path").size()["0.png"] == again.loc["0.png", "tiles"] < table.loc["0.png", "tiles"]


def test_without_kept_windows_the_option_is_named(model, tmp_path):
    save_photos(tmp_path / "photos", 1)
    run(model, tmp_path / "photos", tmp_path / "out", tile=64)
    assert not (tmp_path / "out" / "tiles").exists()
    with pytest.raises(pipeline.VitrolloutError, match="--keep-tiles"):
        pipeline.read_tiles(tmp_path / "out")


@pytest.mark.parametrize(("method", "drawn_from"), [("rollout", "attention"), ("libragrad", "libragrad")])
def test_a_box_lies_around_the_hot_region_of_its_window(model, tmp_path, method, drawn_from):
    """By a map that points at defects, whatever the run's own; it comes from the same pass and is no further map."""
    photos = tmp_path / "photos"
    photos.mkdir()
    save_noise(photos / "large.png", (200, 150))
    row = run(model, photos, tmp_path / "out", tile=64, method=(method,)).loc["large.png"]
    assert row["more_maps"] is None
    windows = cut_by_hand(photos / "large.png", tmp_path / "windows")
    alone = run(model, tmp_path / "windows", tmp_path / "alone", tile=None, method=(drawn_from,))
    expected = set()
    for box, window in zip(windows, alone.itertuples(), strict=True):
        heat = window.attention.reshape(window.grid_h, window.grid_w)
        region = find_hot_regions(heat, tuple(map(float, box)), (200, 150))[0]
        expected.add((region.x0, region.y0, region.x1, region.y1))
    assert len(row["detections"]) > 0
    for detection in row["detections"]:
        corners = np.array([detection[side] for side in ("x0", "y0", "x1", "y1")])
        assert min(np.abs(corners - other).max() for other in expected) < 0.2
