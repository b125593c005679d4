"""The method for runs, by a trust report; saved with the model."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from jobs.trust import trust_command
from pipeline.errors import ConfigError
from pipeline.intervals import Estimate
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.map_scale import SCALE_FILE, read_map_scales
from pipeline.model.open import open_model
from pipeline.model.verdict import VERDICT_FILE, read_verdict
from pipeline.settings import ModelSettings
from pipeline.trust.comparison import compare_in_pairs
from pipeline.trust.config import TrustConfig
from pipeline.trust.measure import trust
from pipeline.trust.verdict import choose_run_method, describe_choice, save_verdict
from tests.helpers.models import save_tiny_vit
from tests.trust.test_result import BELOW, PHOTOS, make_report


def widen(estimates):
    value = estimates["faithfulness"].value
    return Estimate(value, value - 0.01, value + 0.01)


def point(report, **hits):
    """Add pointing to a report: shares of the photos with a hit, the same photos for all methods."""
    values = {
        name.replace("_", "-"): (np.arange(PHOTOS) < share * PHOTOS).astype(float) for name, share in hits.items()
    }
    values |= {name: np.zeros(PHOTOS) for name in report.estimates if name not in values}
    estimates = {
        name: estimates | {"hit_grid": Estimate(float(values[name].mean())), "faithfulness": widen(estimates)}
        for name, estimates in report.estimates.items()
    }
    gains = compare_in_pairs(values, resamples=500, seed=0)
    return replace(report, estimates=estimates, pointed=PHOTOS, hit_gains=gains)


@pytest.mark.parametrize(
    ("ranking", "hits", "method"),
    [
        # the bundled model: ranks a little better, points no better, costs a backward pass
        ({"attention": 0.93, "libragrad": 0.95, "rollout": 0.92}, {"attention": 1, "libragrad": 1, "rollout": 0.5},
         "attention"),
        ({"attention": 0.7, "libragrad": 0.9}, {"attention": 0.5, "libragrad": 0.9}, "libragrad"),
        ({"attention": 0.9, "libragrad": 0.7}, {"attention": 0.5, "libragrad": 0.9}, "attention"),  # ranks worse
        ({"attention": 0.7, "libragrad": 0.9}, {"attention": 0.87, "libragrad": 0.9}, "attention"),  # by one photo
        # no cost between them: the better pointer, unless it ranks worse
        ({"rollout": 0.7, "attention": 0.699}, {"rollout": 0.4, "attention": 0.9}, "attention"),
        ({"rollout": 0.9, "attention": 0.7}, {"rollout": 0.4, "attention": 0.9}, "rollout"),
        # nothing marked: the ranking alone, by more than 0.02
        ({"attention": 0.7, "libragrad": 0.75}, None, "libragrad"),
        ({"attention": 0.7, "libragrad": 0.715}, None, "attention"),
        ({"libragrad": 0.7, "relevance": 0.6}, None, "libragrad"),
        ({"attention": 0.3, "libragrad": 0.2}, None, None),
    ],
)  # fmt: skip
def test_a_gradient_has_to_be_worth_its_time(ranking, hits, method):
    report = make_report(**ranking, edges=0.4, **BELOW)
    assert choose_run_method(point(report, **hits) if hits else report) == method


def test_the_log_says_what_the_alternative_would_cost():
    report = point(make_report(attention=0.7, libragrad=0.72, edges=0.4, **BELOW), attention=0.9, libragrad=0.95)
    report = replace(report, seconds={"attention": 0.05, "libragrad": 0.2})
    assert describe_choice(report).startswith(
        "verdict: attention, 0.050 s an image, points inside in 90%; libragrad would take 0.200 s (4.0 times as long), "
        "points inside in 97%, its insertion - deletion is +0.020 (+0.01"
    )
    assert describe_choice(report).endswith("): --method libragrad")
    assert describe_choice(make_report(rollout=0.3, edges=0.4, **BELOW)) == "verdict: no method holds for this model"
    alone = make_report(rollout=0.6, edges=0.4, **BELOW)
    assert describe_choice(alone) == "verdict: rollout, 0.100 s an image"


def save(report, tmp_path):
    model = save_tiny_vit(tmp_path / "model")
    (tmp_path / "photos").mkdir()
    config = TrustConfig(data=tmp_path / "photos", model=str(model), out=tmp_path / "out", save=True)
    return save_verdict(report, config, open_model(ModelSettings(model=str(model)))), model


def test_the_file_says_what_was_measured(tmp_path):
    report = point(make_report(attention=0.7, libragrad=0.72, edges=0.4, **BELOW), attention=0.9, libragrad=0.95)
    file, model = save(report, tmp_path)
    assert file == model / VERDICT_FILE
    verdict = read_verdict(model)
    assert (verdict.method, verdict.sentence) == ("attention", report.sentence)
    assert [method.name for method in verdict.trusted] == report.trusted == ["libragrad", "attention"]
    first = verdict.trusted[0]
    assert (first.faithfulness, first.points_inside) == (pytest.approx(0.72, abs=0.1), pytest.approx(0.95, abs=0.02))
    assert (first.low, first.high) == pytest.approx((first.faithfulness - 0.01, first.faithfulness + 0.01), abs=1e-3)
    origin = verdict.measured_on
    assert (origin.photos, origin.pointed, origin.input_size) == (PHOTOS, PHOTOS, None)
    assert origin.data == f"{tmp_path.name}/photos"
    assert json.loads(file.read_text())["measured_on"]["model_digest"] == origin.model_digest


def test_no_method_holds_is_a_verdict_and_too_few_photos_are_none(tmp_path, caplog):
    file, model = save(make_report(rollout=0.3, edges=0.4, **BELOW), tmp_path / "a")
    assert file is not None
    assert (read_verdict(model).method, read_verdict(model).trusted) == (None, ())
    file, model = save(make_report(5, rollout=0.9, edges=0.4, **BELOW), tmp_path / "b")
    assert file is None
    assert read_verdict(model) is None
    assert "no verdict saved: too few photos to tell; measure on more than 5" in caplog.text


def test_save_writes_into_the_models_folder(photos, tmp_path):
    model = save_tiny_vit(tmp_path / "model")
    settings = ["--methods", "rollout,libragrad", "--steps", "2", "--limit", "8", "--precision", "fp32", "--save"]
    arguments = [photos / "labels.csv", "--model", model, "--out", tmp_path / "out", *settings]
    result = CliRunner().invoke(trust_command, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "trust.json").read_text())
    verdict = open_model(ModelSettings(model=str(model))).read_verdict()
    if report["undecided"] and not report["trusted"]:
        assert verdict is None
    else:
        assert [method.name for method in verdict.trusted] == report["trusted"]
        assert verdict.measured_on.precision == "fp32"


def test_a_model_without_a_scale_gets_one_and_another_one_stays(photos, tmp_path):
    """Scales take labels: each photo gets the model's own."""
    model = save_tiny_vit(tmp_path / "model")
    settings = {"model": str(model), "out": tmp_path / "out", "methods": "rollout", "steps": 2, "precision": "fp32"}
    found = trust(TrustConfig(data=photos / "labels.csv", **settings, save=True))
    assert not (model / SCALE_FILE).exists(), "no photo has a label"
    labels = {one.path: one.target for one in found.maps}
    for name in labels:
        shutil.copy(photos / name, tmp_path)
    rows = [f"{name},{label},4,4,20,20" for name, label in labels.items()]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,x0,y0,x1,y1", *rows]))
    trust(TrustConfig(data=tmp_path / "labels.csv", **settings, save=True))
    digest = resolve_checkpoint(str(model)).digest()
    (scale,) = read_map_scales(model, digest).scales
    assert (scale.method, scale.target, scale.photos) == ("libragrad", "label", 12)
    before = (model / SCALE_FILE).read_bytes()
    trust(TrustConfig(data=tmp_path / "labels.csv", **settings, save=True, limit=3))
    assert (model / SCALE_FILE).read_bytes() == before


@pytest.mark.parametrize("model", ["bundled", "org/model"])
def test_only_folders_of_ones_own_are_written(tmp_path, model):
    with pytest.raises(ConfigError, match="save = True: a verdict can only be saved into a model folder of yours"):
        TrustConfig(data=tmp_path, model=model, out=tmp_path.parent / "out", save=True)
