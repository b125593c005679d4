"""A decision chosen on validation photos and judged on test photos, from numbers by hand to the command."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from jobs.evaluate import evaluate_command
from pipeline.decision import DECISION_FILE, read_decision
from pipeline.errors import ConfigError, DataError, ModelError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.decision import measure_costs
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.result import ScoredPhotos
from tests.helpers.decisions import ORIGIN, make_decision, save_decision
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos

SPLITS = ["train"] * 6 + ["validation"] * 9 + ["test"] * 12


@pytest.fixture
def model(tmp_path):
    return save_tiny_vit(tmp_path / "model")


@pytest.fixture
def labelled(tmp_path):
    """Photos of three classes in turn; 9 of them for validation, 12 for the test."""
    names = save_photos(tmp_path / "photos", len(SPLITS))
    rows = [f"{name},class-{index % 3},{split}" for index, (name, split) in enumerate(zip(names, SPLITS, strict=True))]
    file = tmp_path / "photos" / "labels.csv"
    file.write_text("\n".join(["path,label,split", *rows]) + "\n")
    return file


def settings(labelled, model, tmp_path, **more):
    common = {"resamples": 0, "workers": 1, "precision": "fp32", "positive": "class-1,class-2"}
    common |= {"data": labelled, "model": str(model), "out": tmp_path / "evaluation"}
    return EvaluateConfig(**common | more)


def scored(truth, score, scoring="softmax"):
    probabilities = np.stack([1 - np.array(score), np.array(score)], axis=1)
    return ScoredPhotos(("ok", "class-1"), "test", (), np.array(truth), probabilities, 0, scoring)


def test_costs_by_hand():
    """Of four defects one passes and two are rejected; of six good photos one is rejected, two go to a review."""
    truth = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    score = [0.1, 0.5, 0.8, 0.9, 0.95, 0.2, 0.3, 0.1, 0.0, 0.19]
    costs = measure_costs(make_decision(pass_below=0.2, reject_from=0.8), scored(truth, score))
    assert [(cost.photos, cost.of) for cost in (costs.escapes, costs.false_alarms, costs.to_review)] == [
        (1, 4), (1, 6), (3, 10),
    ]  # fmt: skip
    # Clopper & Pearson, from their tables
    limits = [(cost.share.value, cost.share.low, cost.share.high) for cost in (costs.escapes, costs.to_review)]
    assert limits[0] == pytest.approx((0.25, 0.0063, 0.8059), abs=1e-4)
    assert limits[1] == pytest.approx((0.3, 0.0667, 0.6525), abs=1e-4)
    assert costs.cautions == ()


def test_costs_beyond_the_wanted_ones_are_named():
    """15 of 20 defects pass where one in a hundred should: 51% at the least (Clopper & Pearson)."""
    costs = measure_costs(make_decision(), scored([1] * 20 + [0] * 20, [0.1] * 15 + [0.9] * 5 + [0.1] * 20))
    assert costs.cautions == ("More escapes than wanted: at least 50.90% of the defects, not 1.00%",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"defects": 40},
            "0.99 is more than 40 validation defects can show: even if all are found, it may be as low as",
        ),
        ({"good": 100}, "0.01 false alarms is less than 100 good validation photos can show: even without any, it may"),
        ({"good": 298}, "be as high as 0.010 (rule of three); 299 are needed"),
        ({"wanted_false_alarms": 0.0}, "no number of photos shows a share of 0"),
    ],
)
def test_few_photos_show_little(changes, words):
    decision = make_decision(chosen_on=replace(ORIGIN, **changes))
    (caution,) = measure_costs(decision, scored([0, 1], [0.1, 0.9])).cautions
    assert words in caution


def test_a_decision_is_chosen_on_validation_photos_and_judged_on_the_test(labelled, model, tmp_path, caplog):
    caplog.set_level("INFO")
    arguments = [str(labelled), "--model", str(model), "--out", str(tmp_path / "evaluation"), "--workers", "1"]
    arguments += ["--positive", "class-1,class-2", "--recall", "0.8", "--false-alarms", "0.4", "--resamples", "0"]
    done = CliRunner().invoke(evaluate_command, [*arguments, "--precision", "fp32", "--save-decision", "--update-card"])
    assert done.exit_code == 0, done.output
    decision = read_decision(model)
    origin = decision.chosen_on
    assert (origin.photos, origin.defects, origin.good, origin.split) == (9, 6, 3, "validation, by the data")
    assert (origin.wanted_recall, origin.wanted_false_alarms) == (0.8, 0.4)
    # the thresholds are those of the validation photos, from an evaluation of them
    evaluate(settings(labelled, model, tmp_path, out=tmp_path / "validation", split="validation"))
    table = pd.read_parquet(tmp_path / "validation" / "predictions.parquet")
    is_defect = (table["label"] != "class-0").to_numpy()
    assert decision.pass_below == pytest.approx(np.sort(table["defect_score"][is_defect])[1])  # 5 of 6 stay
    assert (table["defect_score"][~is_defect] >= np.float32(decision.reject_from)).sum() <= 1
    # the costs are those of the test photos
    test = pd.read_parquet(tmp_path / "evaluation" / "predictions.parquet")
    assert len(test) == 12
    outcomes = test["defect_score"].map(decision.decide)
    report = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["decision"]
    expected = [
        (outcomes[test["label"] != "class-0"] == "pass", report["escapes"]),
        (outcomes[test["label"] == "class-0"] == "reject", report["false_alarms"]),
        (outcomes == "review", report["to_review"]),
    ]
    for is_cost, cost in expected:
        assert (cost["photos"], cost["of"], cost["value"]) == (is_cost.sum(), len(is_cost), is_cost.mean())
        assert cost["low"] <= cost["value"] <= cost["high"]
    assert json.loads(done.stdout.splitlines()[-1])["decision"] == report
    assert report["chosen_on"]["model_digest"] == origin.model_digest
    assert any("0.8 is more than 6 validation defects can show" in caution for caution in report["cautions"])
    assert "escapes" in caplog.text
    card = (model / "README.md").read_text()
    assert f"escapes {report['escapes']['photos']} of 8 defects" in card


def test_every_evaluation_says_what_the_decision_costs(labelled, model, tmp_path, caplog):
    assert evaluate(settings(labelled, model, tmp_path)).band is None
    assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["decision"] is None
    decision = save_decision(model, positive=("class-2",), pass_below=0.0, reject_from=0.0)  # rejects all
    evaluation = evaluate(settings(labelled, model, tmp_path, positive="auto"))
    assert evaluation.positive == ("class-2",), "the decision's, without --positive"
    assert evaluation.band.decision == decision
    assert (evaluation.band.escapes.photos, evaluation.band.escapes.of) == (0, 4)
    assert (evaluation.band.false_alarms.photos, evaluation.band.false_alarms.of) == (8, 8)
    assert evaluation.band.cautions == ("More false alarms than wanted: at least 63.06% of the good photos, not 1.00%",)
    evaluate(settings(labelled, model, tmp_path, split="all", average_turns=True))
    assert "15 of these photos are for training or validation, and look too good" in caplog.text
    assert "averages over turns" in caplog.text


def test_a_decision_that_cannot_be_used_is_replaced(labelled, model, tmp_path):
    (model / DECISION_FILE).write_text("{")
    with pytest.raises(ModelError, match="choose it again with vitrollout evaluate DATA"):
        evaluate(settings(labelled, model, tmp_path))
    evaluate(settings(labelled, model, tmp_path, save_decision=True))
    assert evaluate(settings(labelled, model, tmp_path)).band.decision == read_decision(model)


def test_splits_of_the_model_are_taken_for_data_without(labelled, model, tmp_path):
    table = pd.read_csv(labelled)
    table.to_csv(model / "split.csv", index=False)
    table[["path", "label"]].to_csv(labelled, index=False)
    band = evaluate(settings(labelled, model, tmp_path, save_decision=True)).band
    assert band.decision.chosen_on.split == "validation, by the model's split.csv"
    assert (band.decision.chosen_on.photos, band.to_review.of) == (9, 12)


@pytest.mark.parametrize(
    ("splits", "changes", "words"),
    [
        ({"validation": "train"}, {}, "labels.csv has no validation photos, by its own splits or the model's"),
        ({"test": "train"}, {}, "a decision is judged on test photos, and split = auto takes others"),
        ({}, {"split": "all"}, "a decision is judged on test photos, and split = all takes others"),
        ({}, {"split": "validation"}, "a decision is judged on test photos, and split = validation takes others"),
        ({}, {"positive": "auto"}, "save_decision: no class is called ok, good, normal, functional"),
        ({}, {"positive": "class-0,class-1,class-2"}, "no good photo is among the 9 validation photos"),
    ],
)
def test_no_decision_without_photos_to_choose_and_to_judge(splits, changes, words, labelled, model, tmp_path):
    table = pd.read_csv(labelled)
    table.assign(split=table["split"].replace(splits)).to_csv(labelled, index=False)
    with pytest.raises(DataError, match=words):
        evaluate(settings(labelled, model, tmp_path, save_decision=True, **changes))
    assert not (model / DECISION_FILE).exists()


def test_only_a_folder_of_the_users_takes_a_decision(labelled, model, tmp_path):
    for name in ("bundled", "org/model"):
        with pytest.raises(
            ConfigError, match="save_decision = True: a decision can only be saved into a model folder of"
        ):
            settings(labelled, name, tmp_path, save_decision=True)
    with pytest.raises(ConfigError, match="a run averages no turns"):
        settings(labelled, model, tmp_path, save_decision=True, average_turns=True)
