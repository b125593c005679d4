"""A measurement of trust from photos to files."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

from jobs.trust import trust_command
from pipeline.errors import ConfigError, DataError, StoppedError
from pipeline.maps.methods import ATTENTION_METHODS, LABEL_METHODS, METHODS
from pipeline.trust.baselines import BASELINES, compute_baselines
from pipeline.trust.config import TrustConfig
from pipeline.trust.deletion import patch_counts
from pipeline.trust.measure import trust
from tests.helpers.commands import start_vitrollout

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured(photos, tiny_vit, tmp_path_factory):
    """One measurement of everything, for all tests that only read it."""
    out = tmp_path_factory.mktemp("trust")
    config = TrustConfig(data=photos / "labels.csv", model=str(tiny_vit), out=out, precision="fp32", steps=3)
    return trust(config), out


def test_every_map_is_measured_and_written(measured):
    report, out = measured
    methods = [*METHODS, *BASELINES]
    table = pd.read_parquet(out / "trust.parquet")
    assert len(table) == 12 * len(methods)
    assert set(table["method"]) == set(methods)
    content = json.loads((out / "trust.json").read_text())
    assert (content["photos"], content["failed"], content["pointed"]) == (12, 0, 12)
    assert content["sentence"] == report.sentence
    for method in methods:
        mean = table[table["method"] == method].mean(numeric_only=True)
        for name in ("deletion_blur", "insertion_mean", "faithfulness", "hit_grid", "mass_photo"):
            estimate = content["methods"][method][name]
            assert estimate["value"] == pytest.approx(mean[name])
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
        assert (content["methods"][method]["seconds_per_image"] is None) == (method in BASELINES)
    markdown = (out / "trust.md").read_text()
    assert all(f"| {method} |" in markdown for method in methods)
    with Image.open(out / "trust.png") as picture:
        assert picture.size == (1900, 540)


def test_attention_maps_are_the_same_for_another_label(measured):
    report, _ = measured
    for method in ATTENTION_METHODS:
        assert report.estimates[method]["other_label"].value == 1
    for method in LABEL_METHODS:
        assert report.estimates[method]["other_label"].value < 0.99
        assert report.estimates[method]["shuffled_weights"].value < 0.9


def test_deletion_against_plain_transformers(photos, measured, tiny_vit):
    """The model's own pipeline, on pictures cut by hand."""
    report, _ = measured
    (measured_map,) = [
        candidate for candidate in report.maps if candidate.path == "photo-0003.png" and candidate.method == "edges"
    ]
    processor = AutoImageProcessor.from_pretrained(tiny_vit, backend="pil")
    network = AutoModelForImageClassification.from_pretrained(tiny_vit)
    with Image.open(photos / measured_map.path) as image:
        pixels = processor(image, do_rescale=False, do_normalize=False)["pixel_values"][0].astype(np.uint8)
    edges = compute_baselines(pixels, (4, 4), 8, np.random.default_rng(0))["edges"].ravel()
    cuts = []
    for count in patch_counts(16, 3):
        cut = pixels.copy()
        for cell in np.argsort(-edges)[:count]:
            y, x = 8 * (cell // 4), 8 * (cell % 4)
            cut[:, y : y + 8, x : x + 8] = pixels.mean(axis=(1, 2)).round().astype(np.uint8)[:, None, None]
        cuts.append((cut / 255 - 0.5) / 0.5)
    with torch.no_grad():
        scores = network(torch.from_numpy(np.stack(cuts)).float()).logits.softmax(dim=1)
    target = int(scores[0].argmax())
    assert measured_map.target == f"class-{target}"
    np.testing.assert_allclose(measured_map.curves["deletion_mean"].scores, scores[:, target].numpy(), atol=1e-4)


def test_only_maps_of_the_right_label_must_point(photos, tiny_vit, tmp_path):
    common = {"model": str(tiny_vit), "methods": "attention", "steps": 2, "precision": "fp32"}

    def measure_attention(folder, out):
        return trust(TrustConfig(data=folder / "labels.csv", out=tmp_path / out, **common))

    table = pd.read_csv(photos / "labels.csv")
    first = measure_attention(photos, "a")
    target = {measured_map.path: measured_map.target for measured_map in first.maps}
    table["label"] = [target.get(path, "class-0") for path in table["path"]]
    wrong = next(label for label in ("class-0", "class-1", "class-2") if label != table["label"][5])
    table.loc[5, "label"] = wrong
    for row in table.itertuples():
        shutil.copy(photos / row.path, tmp_path)
    table.to_csv(tmp_path / "labels.csv", index=False)
    second = measure_attention(tmp_path, "b")
    assert (first.pointed, second.pointed, second.photos) == (12, 11, 12)


def test_a_folder_with_masks(photos, tiny_vit, tmp_path):
    for name in ("photo-0000.png", "photo-0001.png", "photo-0002.png"):
        shutil.copy(photos / name, tmp_path)
    (tmp_path / "masks").mkdir()
    mask = np.zeros((40, 48), np.uint8)
    mask[:20, :20] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "photo-0000.png")
    Image.fromarray(mask[:30]).save(tmp_path / "masks" / "photo-0001.png")  # of another size
    arguments = [
        tmp_path,
        "--model",
        tiny_vit,
        "--out",
        tmp_path.parent / "out",
        "--methods",
        "rollout",
        "--steps",
        "2",
    ]
    result = CliRunner().invoke(trust_command, list(map(str, arguments)))
    assert result.exit_code == 3
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["photos"], summary["failed"], summary["pointed"]) == (1, 1, 1)


def test_unusable_boxes_and_masks_are_named(photos, tiny_vit, tmp_path, caplog):
    boxes = tmp_path / "boxes.csv"

    def measure(rows, **settings):
        boxes.write_text(rows)
        config = TrustConfig(data=photos, model=str(tiny_vit), out=tmp_path / "out", methods="rollout", steps=2,
                             limit=2, precision="fp32", boxes=boxes, **settings)  # fmt: skip
        return trust(config)

    with pytest.raises(DataError, match="has the columns none of x0, y0, x1, y1"):
        measure("path,xmin,ymin,xmax,ymax\nphoto-0000.png,1,2,3,4\n")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "other.png").touch()
    head = "path,x0,y0,x1,y1\n"
    with pytest.raises(DataError, match=r"masks: none of the 1 pictures in .* is named like a photo"):
        measure(f"{head}photo-0000.png,1,2,3,4\n", masks=tmp_path / "masks")
    with pytest.raises(DataError, match="no photo can be read; 2 failed"):
        measure(f"{head}photo-0000.png,0.1,0.2,0.3,0.4\nphoto-0001.png,480,400,490,410\n")
    assert "left out photo-0000.png: its box 0.1, 0.2, 0.3, 0.4 is smaller than a pixel" in caplog.text
    assert "left out photo-0001.png: its box 480, 400, 490, 410 lies outside its 48 x 40 pixels" in caplog.text
    caplog.set_level("INFO")
    measure(f"{head}photo-0000.png,1,2,3,4\nphoto-0001.png,4,4,9,9\n")
    assert " s a photo: 2 photos take about 00:" in caplog.text
    assert "measured on 2 photos only" in caplog.text


def test_an_impossible_out_folder_is_reported_before_the_work(photos, tmp_path):
    (tmp_path / "file").touch()
    config = TrustConfig(data=photos, model=str(tmp_path / "not even looked for"), out=tmp_path / "file" / "trust")
    with pytest.raises(ConfigError, match=r"can't be written \(Not a directory\)"):
        trust(config)


def test_labels_unknown_to_the_model(photos, tiny_vit, tmp_path):
    table = pd.read_csv(photos / "labels.csv").assign(label="Class-1")
    for row in table.itertuples():
        shutil.copy(photos / row.path, tmp_path)
    table.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(DataError, match="'Class-1' of the data is not a class of the model"):
        trust(TrustConfig(data=tmp_path / "labels.csv", model=str(tiny_vit), out=tmp_path / "out"))


def test_stopped_early_it_writes_the_results_so_far(photos, tiny_vit, tmp_path):
    asked = iter(range(1000))
    config = TrustConfig(data=photos, model=str(tiny_vit), out=tmp_path, methods="rollout", steps=2, batch_size=2)
    report = trust(config, stop=lambda: next(asked) > 12)
    assert 2 <= report.photos < 13
    assert json.loads((tmp_path / "trust.json").read_text())["photos"] == report.photos
    with pytest.raises(StoppedError, match="before two photos were measured"):
        trust(config, stop=lambda: True)


def test_a_signal_ends_the_command_with_the_results_so_far(photos, tiny_vit, tmp_path):
    arguments = ["trust", photos, "--model", tiny_vit, "--out", tmp_path / "out", "--steps", "100"]
    process = start_vitrollout(*arguments, "--batch-size", "1")
    for line in process.stderr:
        if "photos;" in line:  # the signal is caught from here on
            break
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate()
    assert process.returncode == 143, stderr
    if "nothing was written" not in stderr:
        assert json.loads(stdout.splitlines()[-1])["photos"] < 13


def test_the_bundled_model_on_real_photos(tmp_path):
    """Its label-dependent map ranks the patches far better than chance, and points into the boxes of its windows."""
    config = TrustConfig(
        data=ROOT / "sample_images" / "labels.csv", out=tmp_path, methods="libragrad", limit=6, steps=2
    )
    report = trust(config)
    faithfulness = {method: estimates["faithfulness"].value for method, estimates in report.estimates.items()}
    assert faithfulness["libragrad"] > faithfulness["gaussian"]
    assert faithfulness["libragrad"] > faithfulness["random"] + 0.2
    assert report.estimates["libragrad"]["hit_grid"].value > 0.8
    assert abs(report.estimates["libragrad"]["shuffled_weights"].value) < 0.5
    assert report.estimates["libragrad"]["other_label"].value < 0.9


def test_weights_on_disk_stay(tiny_vit, photos, tmp_path):
    before = load_file(tiny_vit / "model.safetensors")
    trust(TrustConfig(data=photos, model=str(tiny_vit), out=tmp_path, methods="rollout", steps=2, limit=2))
    after = load_file(tiny_vit / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
