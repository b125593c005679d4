"""Where the evidence lies: outside the marks by class, or at one place without marks; in words, JSON and Markdown."""

import json
import math
import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from pipeline.trust.config import TrustConfig
from pipeline.trust.deletion import FILLS, ORDERS, Curve
from pipeline.trust.evidence import Evidence
from pipeline.trust.hot_patches import SIDE
from pipeline.trust.locate_evidence import choose_evidence_method, locate_evidence
from pipeline.trust.measure import trust
from pipeline.trust.pointing import Pointing
from pipeline.trust.result import MeasuredMap
from tests.trust.test_result import BELOW, make_report

FLAT = Curve(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
CURVES = {f"{order}_{fill}": FLAT for order, fill in product(ORDERS, FILLS)}


def measured_map(number, target, *, label=None, mass=None, method="libragrad", heat=None):
    """One map of one photo; `mass` of it lies inside the marks, None without any."""
    pointing = None if mass is None else Pointing(1.0, mass, 1.0)
    if heat is None:
        heat = np.random.default_rng(number).random((8, 8)).astype(np.float32) ** 8
    patch = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    evidence = Evidence(heat, patch, math.nan if mass is None else 0.05)
    return MeasuredMap(f"{number}.png", label, target, 0.9, method, CURVES, pointing, pointing, 0.1, 0.1, evidence)


@pytest.fixture
def locate():
    """The place of the evidence in some maps, of a report that trusts libragrad."""
    report = make_report(attention=0.75, libragrad=0.7, rollout=0.6, edges=0.4, **BELOW)
    return lambda maps: locate_evidence(replace(report, maps=maps), seed=0)


def test_the_maps_are_those_of_the_best_method_that_explains_labels():
    def choose(**ranking):
        return choose_evidence_method(make_report(**ranking, edges=0.4, **BELOW))

    assert choose(attention=0.75, relevance=0.6, libragrad=0.7) == "libragrad"
    assert choose(attention=0.7, rollout=0.6, legrad=0.3) == "attention"
    assert choose(rollout=0.3, legrad=0.2) == "rollout", "nothing is trusted"


def test_evidence_outside_the_marks_is_told_by_class(locate):
    maps = [
        *(measured_map(number, "fray", label="fray", mass=mass) for number, mass in enumerate((0.5, 0.6, 0.7))),
        measured_map(3, "fray", label="dent", mass=0.0),  # a wrong label: its evidence may lie anywhere
        *(measured_map(number, "dent", label="dent", mass=0.9) for number in (4, 5)),
        *(measured_map(number, "fray", label="fray", mass=0.1, method="attention") for number in range(3)),
        measured_map(6, "spot", label="spot"),  # without marks
    ]
    evidence = locate(maps)
    fray, dent = evidence.outside
    assert (fray.label, fray.photos, dent.label, dent.photos) == ("fray", 3, "dent", 2)
    assert (fray.outside.value, fray.marked_share) == (pytest.approx(0.4), pytest.approx(0.05))
    assert 0 <= fray.outside.low < 0.4 < fray.outside.high <= 1
    assert evidence.sentences == [
        "40% of the evidence (libragrad) for 'fray' lies outside the marked defects, which cover 5.0% of its 3 photos"
    ]
    assert evidence.suspects == ()
    content = evidence.as_json()
    assert content["outside_marks"]["dent"]["value"] == pytest.approx(0.1)
    assert json.loads(json.dumps(content, allow_nan=False))["method"] == "libragrad"


def test_the_worst_class_is_told_even_if_little_lies_outside(locate):
    evidence = locate([measured_map(number, "dent", label="dent", mass=0.92) for number in range(3)])
    assert [sentence.partition(" lies")[0] for sentence in evidence.sentences] == [
        "8% of the evidence (libragrad) for 'dent'"
    ]


def test_without_marks_the_suspects_are_told(locate):
    def corner(number):
        heat = np.random.default_rng(number).random((8, 8)).astype(np.float32) * 0.1
        heat[0, 7] = 4
        return heat

    def of_all_methods(number, target, heat=None):
        return [
            measured_map(number, target, heat=heat),
            measured_map(number + 1000, target, method="random"),
            measured_map(number, "dent", method="attention"),
        ]

    free = [one for number in range(24) for one in of_all_methods(number, "dent" if number % 2 else "fray")]
    evidence = locate(free)
    assert (evidence.suspects, evidence.tested) == ([], 2)
    assert evidence.sentences == ["none of 2 classes has its evidence at one place or on one repeated patch"]
    stamped = [one for number in range(24, 36) for one in of_all_methods(number, "spot", corner(number))]
    evidence = locate([*free, *stamped])
    (suspect,) = evidence.suspects
    assert (suspect.label, suspect.kind) == ("spot", "place")
    assert evidence.sentences[0].startswith("'spot' is suspected: ")
    assert evidence.as_json()["suspects"][0]["label"] == "spot"
    few = locate([*of_all_methods(0, "dent"), *of_all_methods(1, "fray")])
    assert few.sentences[0].startswith("shortcuts were not looked for: ")


def test_a_measurement_writes_and_logs_them(photos, tiny_vit, tmp_path, caplog):
    caplog.set_level("INFO")
    common = {"model": str(tiny_vit), "methods": "libragrad", "steps": 2, "precision": "fp32", "limit": 6}
    report = trust(TrustConfig(data=photos / "labels.csv", out=tmp_path / "marked", **common))
    content = json.loads((tmp_path / "marked" / "trust.json").read_text())["evidence"]
    assert content["sentences"] == report.evidence.sentences
    assert content["sentences"][0] in caplog.text
    assert sum(one["photos"] for one in content["outside_marks"].values()) == report.pointed == 6
    mean = np.average(
        [one["value"] for one in content["outside_marks"].values()],
        weights=[one["photos"] for one in content["outside_marks"].values()],
    )
    assert mean == pytest.approx(1 - report.estimates["libragrad"]["mass_grid"].value)
    markdown = (tmp_path / "marked" / "trust.md").read_text()
    assert f"{content['sentences'][0]}." in markdown
    assert "| class | photos | evidence outside the marks (libragrad) |" in markdown
    for file in photos.glob("*.png"):
        (tmp_path / "plain").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "plain")
    report = trust(TrustConfig(data=tmp_path / "plain", out=tmp_path / "unmarked", **common))
    assert report.evidence.outside == ()
    assert report.evidence.sentences[0][1:] in (tmp_path / "unmarked" / "trust.md").read_text()
