"""The fingerprint changes with every setting that changes the numbers, and with no other.

A run is made with each setting changed once, so what a field declares is held against the table itself.
"""

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.config import RunConfig
from pipeline.model.targets import LabelGroup, Targets
from pipeline.planning.fingerprint import fingerprint, photo_fingerprint
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
    "tile": 800,
    "head_fusion": "max",
    "discard_ratio": 0.5,
    "overlay_opacity": 0.2,
    "colormap": "viridis",
    "style": "article",
    "scale": 0.5,
    "exact_decode": True,
    "rescale": False,
    "max_pixels": 20_000_000,
    "decode_seconds": 30,
    "method": ("libragrad", "rollout"),
    "target": "class-1",
    "versus": "class-2",
    "embeddings": True,
    "workers": 2,
    "pattern": "*.jpg",
    "exclude": ("*.png",),
    "hidden": True,
    "limit": 100,
    "sample": 10,
    "overlays": "failed",
    "overlay_size": 64,
    "report": True,
    "retry_failed": True,
    "follow_links": True,
    "compare_runs": 0,
    "devices": 1,
    "engine": "local",
    "ray_address": "auto",
    "repair": True,
    "rebind": True,
    "part_rows": 1,
    "part_seconds": 1,
}
ELSEWHERE = {
    "input": "other photos",
    "out": "another table",
    "device": "there is one device here",
    "white_level": "for deep photos: test_white_level_changes_the_fingerprint",
    "tile_overlap": "needs tile: test_the_overlap_counts_with_windows_alone",
    "keep_tiles": "needs tile: test_the_overlap_counts_with_windows_alone",
    "labels": "needs target = expected: tests/model/test_targets.py",
    "positive": "needs target = defects: test_of_positive_labels_the_classes_count",
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
    embedding = np.empty(0) if row["embedding"] is None else row["embedding"]
    arrays = [row["logits"], row["attention"], embedding, *(more_maps[name] for name in sorted(more_maps))]
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


def test_the_overlap_counts_with_windows_alone(base, models, tmp_path):
    whole = run_once(models, tmp_path / "whole", tile_overlap=0.2, keep_tiles=True)
    assert whole["fingerprint"] == base["fingerprint"]
    changes = ({"tile_overlap": 0.2}, {"tile_overlap": 0.5}, {"tile_overlap": 0.5, "keep_tiles": True})
    rows = [run_once(models, tmp_path / str(number), tile=1500, **change) for number, change in enumerate(changes)]
    assert len({row["fingerprint"] for row in rows}) == 3


@pytest.mark.parametrize(("name", "method"), [("discard_ratio", "libragrad"), ("head_fusion", "libragrad")])
def test_a_setting_unused_by_the_methods_changes_nothing(name, method, models, tmp_path):
    plain = run_once(models, tmp_path / "plain", method=method)
    changed = run_once(models, tmp_path / "changed", method=method, **{name: CHANGED[name]})
    assert same_numbers(plain, changed)
    assert plain["fingerprint"] == changed["fingerprint"]


def test_white_level_changes_the_fingerprint(models, tmp_path):
    (tmp_path / "photos").mkdir()
    values = np.random.default_rng(0).integers(0, 4096, (60, 60)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "photos" / "deep.png")
    rows = []
    for level in (None, 4095, 65535):
        settings = BASE | {"model": str(models / "model"), "white_level": level}
        pipeline.run(input=tmp_path / "photos", out=tmp_path / f"out-{level}", **settings)
        rows += pipeline.read_results(tmp_path / f"out-{level}").to_dict("records")
    assert not same_numbers(rows[0], rows[1])
    assert same_numbers(rows[0], rows[2])
    assert len({row["fingerprint"] for row in rows}) == 3, "a level is a setting, whatever the photos hold"


@pytest.mark.parametrize("name", ["a.tif", "b.TIFF", "c.bmp", "d.dib", "e/f.tga"])
def test_photos_under_new_rules_of_decoding_are_processed_once_more(name):
    assert photo_fingerprint("of the run", Targets(), name) != "of the run"


@pytest.mark.parametrize("name", ["a.jpg", "b.PNG", "tif/a.jpg", "c.tif.png", "d.webp", "e.pgm"])
def test_other_photos_keep_their_fingerprint(name):
    assert photo_fingerprint("of the run", Targets(), name) == "of the run"


class Digested:
    def digest(self):
        return "00"


def test_fingerprints_of_results_made_before_there_were_targets_hold(tmp_path):
    """A change here would process every archive again."""
    for method, mark in {"rollout": "f6680342a2f7", "article": "d70620d56afc"}.items():
        config = RunConfig(input=tmp_path, method=method)
        assert fingerprint(config, Digested(), "bf16", Targets()) == mark
        assert photo_fingerprint(mark, Targets(), "a.png") == mark


def test_statistics_of_the_training_photos_count_where_there_are_some(tmp_path):
    config = RunConfig(input=tmp_path)
    plain, first, second = (fingerprint(config, Digested(), "bf16", Targets(), digest) for digest in (None, "a", "b"))
    assert plain == fingerprint(config, Digested(), "bf16", Targets())
    assert len({plain, first, second}) == 3


def test_fingerprints_of_results_made_before_there_were_groups_of_labels_hold(tmp_path):
    old = {
        "112608ce6028": ("legrad", Targets()),
        "7b71827ddb83": ("libragrad", Targets(LabelGroup((1,)))),
        "55521888fe50": ("libragrad", Targets(LabelGroup((1,)), versus=LabelGroup((0,)))),
        "42c8fdea3fc6": ("libragrad", Targets(versus=LabelGroup((2,)))),
    }
    for mark, (method, targets) in old.items():
        assert fingerprint(RunConfig(input=tmp_path, method=method), Digested(), "bf16", targets) == mark


def test_of_positive_labels_the_classes_count(models, tmp_path):
    """Named by the user or by the model's decision: one that changes their classes changes the maps."""
    marks = []
    for name, positive in enumerate(("class-1", "1", "class-2,class-1", "class-1,class-2")):
        row = run_once(models, tmp_path / f"out-{name}", target="defects", positive=positive)
        assert row["target"] == "defects"
        marks.append(row["fingerprint"])
    assert marks[0] == marks[1] != marks[2] == marks[3]


def test_fingerprints_tell_methods_and_labels_apart(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n")
    expected = {"target": "expected", "labels": tmp_path / "labels.csv"}

    def mark(methods, targets=Targets(), **settings):  # noqa: B008, is frozen
        config = RunConfig(input=tmp_path, method=methods, **settings)
        return fingerprint(config, Digested(), "bf16", targets)

    assert mark("rollout") == mark("rollout", Targets())
    assert mark("legrad,rollout,article") == mark("legrad,article,rollout")
    assert mark("legrad", discard_ratio=0.5, head_fusion="max") == mark("legrad")  # it doesn't ask for them
    assert mark("legrad,rollout", discard_ratio=0.5) != mark("legrad,rollout")
    marks = [
        mark("rollout"),
        mark("legrad"),
        mark("rollout,legrad"),
        mark("legrad,rollout"),
        mark("legrad", Targets(label=LabelGroup((0,)))),
        mark("legrad", Targets(label=LabelGroup((1,)))),
        mark("legrad", Targets(versus=LabelGroup((1,)))),
        mark("legrad", Targets(label=LabelGroup((0,)), versus=LabelGroup((1,)))),
        mark("legrad", Targets(label=LabelGroup((1, 2), "defects"))),
        mark("legrad", Targets(label=LabelGroup((1, 2), "defects"), versus=LabelGroup((0,), "good"))),
        mark("legrad", Targets(label=LabelGroup((1,), "defects"))),
        mark("legrad", Targets(expected={"a.png": 0}), **expected),
    ]
    assert len(set(marks)) == len(marks)


def test_of_expected_labels_only_a_photos_own_counts():
    before, after = Targets(expected={"a": 0, "b": 1}), Targets(expected={"a": 0, "b": 2, "c": 0})
    marks = [[photo_fingerprint("f", targets, path) for path in "abc"] for targets in (before, after)]
    assert [one == other for one, other in zip(*marks, strict=True)] == [True, False, False]
