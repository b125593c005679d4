"""The bundled model on real photos: --target defects --versus good, on the scale that it brings along."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.model.checkpoint import BUNDLED
from pipeline.overlays.scale import read_kept_span
from tests.helpers.commands import run_vitrollout

SAMPLES = Path(__file__).parents[2] / "sample_images"
GOOD, DEFECTIVE = ("board-0736.png", "board-4064.png"), ("board-2463.png", "board-3941.png")
EVIDENCE = ("--target", "defects", "--versus", "good")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name in (*GOOD, *DEFECTIVE):
        shutil.copy(SAMPLES / name, folder)
    return folder


def heat_in(picture, photo):
    """The largest change of a pixel by the overlay, 0..255."""
    return np.abs(np.asarray(picture).astype(int) - np.asarray(photo).astype(int)).max()


def test_a_good_part_stays_dark_and_a_bad_one_glows(photos, tmp_path):
    done = run_vitrollout("run", photos, "--out", tmp_path, *EVIDENCE, "--workers", 1, "--no-report")
    assert done.returncode == 0, done.stderr
    rows = pipeline.read_results(tmp_path).set_index("path")
    assert (set(rows["method"]), set(rows["target"]), set(rows["versus"])) == ({"libragrad"}, {"defects"}, {"good"})
    scale = json.loads((BUNDLED / "map_scale.json").read_text())["scales"][-1]
    fingerprint = json.loads(next((tmp_path / "runs").glob("*Z.json")).read_text())["fingerprint"]
    assert read_kept_span(tmp_path, fingerprint, "model") == (scale["low"], scale["high"])
    hottest = {path: values.max() for path, values in rows["attention"].items()}
    heat = {
        path: heat_in(Image.open(tmp_path / overlay), Image.open(photos / path).convert("RGB"))
        for path, overlay in rows["overlay"].items()
    }
    for path in GOOD:
        assert hottest[path] < 0.5 * scale["high"]
        assert heat[path] < 60
    for path in DEFECTIVE:
        assert hottest[path] > scale["high"]
        assert heat[path] > 120


def test_one_photo_explained_has_the_scale_in_its_summary(photos, tmp_path):
    arguments = ("explain", photos / DEFECTIVE[0], "--out", tmp_path, *EVIDENCE)
    done = run_vitrollout(*arguments)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["target"], summary["versus"]) == ("defects", "good")
    assert 0 == summary["scale"][0] < summary["scale"][1]
    refused = run_vitrollout(*arguments, "--scale", "run")
    assert refused.returncode == 2
    assert "scale = run: is a scale of many photos; name model, photo or a number" in refused.stderr


def test_a_target_without_a_scale_of_the_model_says_so(photos, tmp_path):
    done = run_vitrollout("explain", photos / GOOD[0], "--out", tmp_path, *EVIDENCE, "--method", "relevance")
    assert done.returncode == 0, done.stderr
    assert "each photo on a scale of its own, as map_scale.json of model bundled has none for these" in done.stderr
