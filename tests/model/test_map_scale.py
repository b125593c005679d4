"""The scale of a model's maps: measured on validation photos, written and read, and found for the labels of a run."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.model.map_scale import (
    MapScale,
    MapScales,
    measure_map_scales,
    measure_span,
    read_map_scales,
    spread_evenly,
    write_map_scales,
)
from pipeline.model.targets import LabelGroup, Targets

DEFECTS, GOOD = (1, 2, 3, 4, 5, 6), (0,)
LABEL = MapScale("libragrad", "label", None, 0.0, 2.0, 60)
EVIDENCE = MapScale("libragrad", "defects", "good", 0.0, 3.0, 40)
SCALES = MapScales((LABEL, EVIDENCE), "00", (48, 48), "fp32")


@pytest.fixture(scope="module")
def classifier(tiny_checkpoint):
    return load_classifier(resolve_checkpoint(str(tiny_checkpoint("vit"))), device="cpu", precision="fp32")


def make_pixels(count):
    return list(np.random.default_rng(0).integers(0, 256, (count, 3, 48, 48), dtype=np.uint8))


def test_scales_are_measured_on_photos_with_a_defect(classifier):
    pixels, label_ids = make_pixels(9), [0, 1, 0, 2, 0, 6, 0, 1, 0]
    label, defects, evidence = measure_map_scales(classifier, pixels, label_ids, DEFECTS)
    assert [(one.target, one.versus, one.photos) for one in (label, defects, evidence)] == [
        ("label", None, 4),
        ("defects", None, 4),
        ("defects", "good", 4),
    ]
    defective = torch.from_numpy(np.stack(pixels[1::2]))
    maps = classifier.predict(defective, MapPlan(("libragrad",), target=DEFECTS, versus=GOOD)).maps["libragrad"]
    assert evidence.low == 0
    assert evidence.high == pytest.approx(np.median(maps.max(axis=(1, 2))) / 2, rel=1e-5)


def test_without_defects_only_labels_have_a_scale(classifier):
    pixels = make_pixels(2)
    for label_ids, positive in (([0, 0], DEFECTS), ([0, 1], ()), ([0, 0], (6,))):
        (scale,) = measure_map_scales(classifier, pixels, label_ids, positive)
        assert (scale.target, scale.versus, scale.photos) == ("label", None, 2)
    assert measure_map_scales(classifier, [], [], DEFECTS) == ()


def test_each_method_has_its_scales(classifier):
    scales = measure_map_scales(classifier, make_pixels(2), [0, 1], DEFECTS, ("legrad", "relevance"))
    assert [one.method for one in scales] == ["legrad"] * 3 + ["relevance"] * 3
    assert all(0 <= one.low < one.high for one in scales)


def test_no_more_than_a_hundred_photos_are_measured():
    assert spread_evenly(range(10), 3) == [0, 3, 6]
    assert spread_evenly(range(3), 100) == [0, 1, 2]
    assert spread_evenly([], 3) == []
    numbers = spread_evenly(range(12_345), 100)
    assert (len(numbers), len(set(numbers))) == (100, 100)
    assert numbers[-1] > 12_000


def test_a_span_begins_at_no_evidence_and_ends_at_a_hot_cell():
    signed = np.array([[[-5, 1], [0, 1]], [[-1, 3], [3, 3]]], np.float32)
    assert measure_span(signed, 0) == (0, 1)
    assert measure_span(signed, 100) == (0, 3)
    low, high = measure_span(signed + 9, 100)
    assert low == pytest.approx(6)
    assert high == 12
    broken = np.concatenate([signed, np.full((1, 2, 2), np.nan, np.float32)])
    assert measure_span(broken, 100) == (0, 3)
    for nothing in (np.zeros((3, 2, 2), np.float32), -signed - 9, broken[2:]):
        assert measure_span(nothing, 50) is None


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (Targets(), LABEL),
        (Targets(LabelGroup((2,))), LABEL),
        (Targets(expected={}), LABEL),
        (Targets(LabelGroup(DEFECTS, "defects"), versus=LabelGroup(GOOD, "good")), EVIDENCE),
        (Targets(LabelGroup(DEFECTS, "defects"), versus=LabelGroup(GOOD)), EVIDENCE),  # a class called good
        (Targets(LabelGroup(DEFECTS, "defects")), None),
        (Targets(LabelGroup((1, 2), "defects"), versus=LabelGroup(GOOD)), None),
        (Targets(LabelGroup((2,)), versus=LabelGroup(GOOD)), None),
        (Targets(versus=LabelGroup(GOOD)), None),
    ],
    ids=str,
)
def test_a_scale_is_found_by_method_and_kind_of_labels(targets, found):
    assert SCALES.find("libragrad", targets, 7) is found
    assert SCALES.find("legrad", targets, 7) is None


def test_scales_are_read_as_written(tmp_path):
    assert read_map_scales(tmp_path, "00") is None
    for scales in (SCALES, replace(SCALES, input_size=None, scales=())):
        file = write_map_scales(tmp_path, scales)
        assert file.name == "map_scale.json"
        assert read_map_scales(tmp_path, "00") == scales


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.replace("{", "[", 1), "Invalid JSON"),
        (lambda content: content.replace('"defects"', '"all"'), "scales: 1: target: must be 'label' or 'defects'"),
        (lambda content: content.replace("3.0", "Infinity"), "high: must be a finite number"),
        (lambda content: content.replace("3.0", "0.0"), "low = 0 is not below high = 0"),
        (lambda content: content.replace('"00"', '"01"'), "it was measured with other weights or another prepro"),
        (lambda content: json.dumps(json.loads(content) | {"version": 2}), "version: must be 1"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_the_next_step(tmp_path, change, words):
    file = write_map_scales(tmp_path, SCALES)
    file.write_text(change(file.read_text()))
    with pytest.raises(ModelError, match=words) as caught:
        read_map_scales(tmp_path, "00")
    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).endswith(f"vitrollout trust DATA --model {tmp_path} --save, or remove the file")
    assert "\n" not in str(caught.value)
