"""The fingerprint changes with every setting that changes the numbers, and with no other.

A run is made with each setting changed once, so what a field declares is held against the table itself.
"""

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.config import RunConfig
from tests.helpers.models import save_tiny_vit

BASE = {
    "method": ("rollout", "libragrad"),  # a method of attention alone, and one that explains a label
    "precision": "fp32",
    "device": "cpu",
    "workers": 1,
    "overlay_size": None,
    "report": False,
}
# Another value for each setting. A new setting belongs here, and if it changes the numbers, it has to declare it.
CHANGED = {
    "model": "another model",
    "input_size": (64, 64),
    "precision": "bf16",
    "batch_size": 2,
    "head_fusion": "max",
    "discard_ratio": 0.5,
    "overlay_opacity": 0.2,
    "colormap": "viridis",
    "style": "article",
    "exact_decode": True,
    "rescale": False,
    "max_pixels": 20_000_000,
    "decode_seconds": 30,
    "method": ("libragrad", "rollout"),
    "target": "class-1",
    "versus": "class-2",
    "workers": 2,
    "pattern": "*.jpg",
    "limit": 100,
    "overlay_size": 64,
    "report": True,
    "retry_failed": True,
    "follow_links": True,
    "compare_runs": 0,
    "repair": True,
    "rebind": True,
    "part_rows": 1,
    "part_seconds": 1,
}
ELSEWHERE = {
    "input": "other photos",
    "out": "another table",
    "device": "there is one device here",
    "labels": "needs target = expected: tests/model/test_targets.py",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models, and a photo of noise: no two ways to decode or to resize it agree."""
    folder = tmp_path_factory.mktemp("fingerprint")
    (folder / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2100, 2600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "photos" / "noise.jpg", quality=70)
    for seed, name in enumerate(("model", "another model")):
        save_tiny_vit(folder / name, seed=seed)
    return folder


@pytest.fixture(scope="module")
def base(models):
    return run_once(models, models / "base")


def run_once(models, out, **changed):
    """The one row of a run with a setting changed."""
    settings = BASE | {"model": "model"} | changed
    settings["model"] = str(models / settings["model"])
    summary = pipeline.run(input=models / "photos", out=out, **settings)
    assert summary.ok == 1
    (row,) = pipeline.read_results(out).to_dict("records")
    return row


def numbers_of(row):
    more_maps = dict(row["more_maps"] if row["more_maps"] is not None else [])
    words = [row["label"], row["method"], row["target"], row["versus"], sorted(more_maps)]
    arrays = [row["logits"], row["attention"], *(more_maps[name] for name in sorted(more_maps))]
    return words, arrays


def same_numbers(row, other):
    (words, arrays), (other_words, other_arrays) = numbers_of(row), numbers_of(other)
    if str(words) != str(other_words) or [array.shape for array in arrays] != [array.shape for array in other_arrays]:
        return False
    return all(np.allclose(*pair, atol=1e-6) for pair in zip(arrays, other_arrays, strict=True))


def test_every_setting_is_tried():
    assert set(RunConfig.model_fields) == {*CHANGED, *ELSEWHERE}


@pytest.mark.parametrize("name", CHANGED)
def test_a_setting_changes_the_fingerprint_if_it_changes_the_numbers(name, base, models, tmp_path):
    row = run_once(models, tmp_path / "out", **{name: CHANGED[name]})
    changes_numbers = not same_numbers(row, base)
    assert (row["fingerprint"] != base["fingerprint"]) == changes_numbers
    assert (name in RunConfig.fingerprint_fields()) == changes_numbers


@pytest.mark.parametrize(("name", "method"), [("discard_ratio", "libragrad"), ("head_fusion", "libragrad")])
def test_a_setting_unused_by_the_methods_changes_nothing(name, method, models, tmp_path):
    plain = run_once(models, tmp_path / "plain", method=method)
    changed = run_once(models, tmp_path / "changed", method=method, **{name: CHANGED[name]})
    assert same_numbers(plain, changed)
    assert plain["fingerprint"] == changed["fingerprint"]
