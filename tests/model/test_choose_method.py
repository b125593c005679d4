"""`--method auto`: the verdict's method, or a default and a line in the log."""

import json

import pytest

import pipeline
from pipeline.config import RunConfig
from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain
from pipeline.model.choose_method import choose_method
from pipeline.model.open import open_model
from pipeline.results.run_record import newest_run_records
from pipeline.scheduled import finish_open_runs, plan_shards, work_on_shards
from pipeline.settings import ModelSettings
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos
from tests.helpers.verdicts import save_verdict


@pytest.fixture
def model(tmp_path):
    return save_tiny_vit(tmp_path / "model")


@pytest.fixture
def photos(tmp_path):
    save_photos(tmp_path / "photos", 3)
    return tmp_path / "photos"


@pytest.fixture
def choose(model):
    """The choice for `method = auto`, or for another one."""

    def choose(*wanted, target="top1", versus=None):
        opened = open_model(ModelSettings(model=str(model)))
        choice = choose_method(wanted or ("auto",), opened, target=target, versus=versus)
        choice.log_reason()
        return choice.methods, choice.source

    return choose


def test_without_a_verdict_it_is_rollout_and_the_log_names_the_command(choose, model, caplog):
    caplog.set_level("INFO")
    assert choose() == (("rollout",), "default")
    (line,) = caplog.messages
    assert line.startswith("method = rollout: nobody has measured whether the maps of this model point at anything; ")
    assert line.endswith(f"vitrollout trust DATA --model {model} --save measures it")


def test_the_verdicts_method_is_taken(choose, model, caplog):
    caplog.set_level("INFO")
    save_verdict(model, "attention", "libragrad")
    assert choose() == (("attention",), "verdict")
    assert caplog.messages[-1].startswith("method = attention: by the model's verdict, measured on 200 photos of ")
    assert choose("article", "legrad") == (("article", "legrad"), "settings")


def test_a_model_without_a_method_that_holds(choose, model, caplog):
    save_verdict(model)
    assert choose() == (("rollout",), "default")
    assert caplog.messages[-1].startswith("method = rollout: no method holds for this model, measured on 200 photos")


@pytest.mark.parametrize(
    ("trusted", "method", "source"),
    [
        (None, "libragrad", "default"),
        ((), "libragrad", "default"),
        (("attention", "rollout"), "libragrad", "default"),
        (("attention", "relevance", "libragrad"), "relevance", "verdict"),
        (("legrad", "relevance"), "legrad", "verdict"),
    ],
)
def test_a_label_to_explain_takes_a_method_that_can(choose, model, caplog, trusted, method, source):
    caplog.set_level("INFO")
    if trusted is not None:
        save_verdict(model, *trusted)
    for label in ({"target": "class-1"}, {"versus": "class-1"}, {"target": "expected"}):
        assert choose(**label) == ((method,), source)
        assert caplog.messages[-1] == f"method = {method}: explains labels, as {next(iter(label))} needs"
    assert choose("attention", target="class-1") == (("attention",), "settings")


def test_everything_after_the_choice_sees_the_method(model, photos, tmp_path):
    """Record, table and fingerprint are those of the method by name: nothing is processed again."""
    save_verdict(model, "attention")
    settings = {"input": photos, "out": tmp_path / "out", "model": str(model), "overlay_size": None, "workers": 1}
    assert pipeline.run(**settings).processed == 3
    assert set(pipeline.read_results(tmp_path / "out")["method"]) == {"attention"}
    (record,) = newest_run_records(tmp_path / "out")
    assert (record.settings["method"], record.method_source) == (["attention"], "verdict")
    assert pipeline.run(**settings, method="attention").processed == 0
    assert next(newest_run_records(tmp_path / "out")).method_source == "settings"
    assert pipeline.run(**settings, method="rollout").processed == 3
    explanation = explain(ExplainConfig(image=photos / "photo-0000.png", model=str(model)))
    assert explanation.method == pipeline.load_model(str(model)).method == "attention"


def test_old_tables_of_a_model_without_a_verdict_stay_current(model, photos, tmp_path):
    settings = {"input": photos, "out": tmp_path / "out", "model": str(model), "overlay_size": None, "workers": 1}
    pipeline.run(**settings, method="rollout")
    assert pipeline.run(**settings).processed == 0


def test_jobs_on_other_machines_get_the_method_of_the_plan(model, photos, tmp_path):
    """A verdict that comes, or goes, between plan and work changes nothing."""
    verdict = save_verdict(model, "attention")
    out = tmp_path / "out"
    planned = plan_shards(
        RunConfig(input=photos, out=out, model=str(model), overlay_size=None, workers=1, precision="fp32", device="cpu")
    )
    assert planned.shards_left == 1
    draft = json.loads((out / "runs" / f"{planned.run_id}.open").read_text())
    assert (draft["settings"]["method"], draft["method_source"]) == (["attention"], "verdict")
    save_verdict(model, "article", measured_on=verdict.measured_on)
    assert work_on_shards(out, 1, 1, {}).ok == 3
    assert finish_open_runs(out).ok == 3
    assert set(pipeline.read_results(out)["method"]) == {"attention"}
