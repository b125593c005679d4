"""The way of a decision: chosen by an evaluation, written by runs, shown by reports, and changed without the model."""

import json
import shutil

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax

import pipeline
from pipeline.decision import DECISION_FILE, OUTCOMES, read_decision
from pipeline.errors import ModelError
from pipeline.report.status import format_status, read_status
from tests.helpers.archives import metrics_of
from tests.helpers.commands import run_vitrollout
from tests.helpers.decisions import save_decision
from tests.helpers.models import make_checkpoint, save_tiny_vit
from tests.helpers.photos import save_photos
from tests.training.marked_photos import save_marked_photos


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Labelled photos, and a model fine-tuned on them with a decision; not to be changed."""
    folder = tmp_path_factory.mktemp("decisions")
    photos = save_marked_photos(folder / "photos", count=20)
    start = make_checkpoint(folder / "start")
    pipeline.finetune(
        data=photos, out=folder / "model", model=str(start), input_size=32, epochs=3, batch_size=16, precision="fp32",
        learning_rate=1e-3, validation_share=0.3, test_share=0.3,
    )  # fmt: skip
    arguments = [photos, "--model", folder / "model", "--positive", "bar,dot", "--recall", "0.9", "--save-decision"]
    arguments += ["--precision", "fp32"]
    done = run_vitrollout("evaluate", *arguments, "--out", folder / "evaluation", "--resamples", "0")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def photos(tmp_path):
    save_photos(tmp_path / "photos", 12)
    (tmp_path / "photos" / "broken.png").write_bytes(b"broken")
    return tmp_path / "photos"


@pytest.fixture
def model(tmp_path):
    return save_tiny_vit(tmp_path / "model")


def run_folder(photos, model, out, **more):
    settings = {"workers": 1, "precision": "fp32", "overlay_size": 16} | more
    return pipeline.run(input=photos, out=out, model=str(model), **settings)


def ok_rows(out):
    frame = pipeline.read_results(out).set_index("path")
    return frame[frame["status"] == "ok"]


def test_from_labels_to_decisions_in_the_table(trained, tmp_path):
    folder, evaluated = trained
    decision = read_decision(folder / "model")
    assert decision.chosen_on.photos == 18
    assert evaluated["decision"]["to_review"]["of"] == 18
    done = run_vitrollout(
        "run", folder / "photos", "--out", tmp_path / "out", "--model", folder / "model", "--overlay-size", "none",
        "--precision", "fp32",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    table = pd.read_parquet(tmp_path / "out" / "table").set_index("path")  # by pandas alone
    labels = pipeline.load_model(str(folder / "model"), device="cpu").labels
    scores = softmax(np.stack(table["logits"]), axis=1)[:, [labels.index("bar"), labels.index("dot")]].sum(axis=1)
    np.testing.assert_allclose(table["defect_score"], scores, atol=1e-6)
    assert table["defect_score"].dtype == np.float32
    reject, passed = table["defect_score"] >= decision.reject_from, table["defect_score"] < decision.pass_below
    assert (table["decision"].astype(str) == np.select([reject, passed], ["reject", "pass"], "review")).all()
    counts = table["decision"].value_counts()
    assert summary["decisions"] == {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}
    assert "decisions: pass " in done.stderr
    # the costs named by the evaluation are those of the run
    test = pd.read_csv(folder / "model" / "split.csv").set_index("path").query("split == 'test'")
    decided = table.loc[test.index, "decision"].astype(str)
    assert (decided[test["label"] == "ok"] == "reject").sum() == evaluated["decision"]["false_alarms"]["photos"]
    assert (decided[test["label"] != "ok"] == "pass").sum() == evaluated["decision"]["escapes"]["photos"]
    assert (decided == "review").sum() == evaluated["decision"]["to_review"]["photos"]


def test_another_decision_needs_no_forward_pass(photos, model, tmp_path, caplog):
    """Added, changed and removed again: rows follow the file, and no photo is processed."""
    caplog.set_level("INFO")
    out = tmp_path / "out"
    first = run_folder(photos, model, out)
    assert (first.processed, first.decisions, first.rejudged) == (13, {}, 0)
    plain = pipeline.read_results(out)
    assert plain[["defect_score", "decision"]].isna().all(axis=None)
    overlays = {file: file.stat().st_mtime_ns for file in out.rglob("*.png")}
    for thresholds in ((0.2, 0.8), (0.5, 0.5)):
        decision = save_decision(
            model, positive=("class-1", "class-2"), pass_below=thresholds[0], reject_from=thresholds[1]
        )
        summary = run_folder(photos, model, out)
        assert (summary.processed, summary.done_before, summary.rejudged) == (0, 13, 13)
        assert "13 the same (13 under another decision)" in caplog.text
        rows = ok_rows(out)
        scores = softmax(np.stack(rows["logits"]), axis=1)[:, 1:].sum(axis=1)
        np.testing.assert_allclose(rows["defect_score"], scores, atol=1e-6)
        assert rows["decision"].tolist() == [decision.decide(score) for score in rows["defect_score"]]
        assert run_folder(photos, model, out).rejudged == 0, "once is enough"
    assert set(rows["decision"]) == {"pass", "reject"}
    (model / DECISION_FILE).unlink()
    assert run_folder(photos, model, out).rejudged == 13
    after = pipeline.read_results(out)
    same = [name for name in after.columns if name != "run_id"]
    assert after[same].astype(str).equals(plain[same].astype(str)), "the fingerprint is that of before, too"
    assert {file: file.stat().st_mtime_ns for file in overlays} == overlays


def test_only_new_photos_go_through_the_model(photos, model, tmp_path):
    run_folder(photos, model, tmp_path / "out")
    save_decision(model)
    save_photos(photos / "more", 3, seed=1)
    (photos / "photo-0003.png").touch()
    summary = run_folder(photos, model, tmp_path / "out")
    assert (summary.processed, summary.rejudged, sum(summary.decisions.values())) == (3, 13, 3)
    assert ok_rows(tmp_path / "out")["decision"].notna().all()
    moved = run_folder(photos, model, tmp_path / "out", retry_failed=True)
    assert (moved.processed, moved.rejudged) == (1, 0)


def test_labels_that_hold_together_are_judged_by_the_highest(photos, tmp_path):
    model = make_checkpoint(tmp_path / "model")
    config = json.loads((model / "config.json").read_text()) | {"problem_type": "multi_label_classification"}
    (model / "config.json").write_text(json.dumps(config))
    decision = save_decision(model, positive=("dent", "crack", "hole"))
    run_folder(photos, model, tmp_path / "out", overlay_size=None)
    rows = ok_rows(tmp_path / "out")
    scores = expit(np.stack(rows["logits"]))[:, [2, 4, 5]].max(axis=1)
    np.testing.assert_allclose(rows["defect_score"], scores, atol=1e-6)
    assert rows["decision"].tolist() == [decision.decide(score) for score in rows["defect_score"]]


def test_status_report_and_other_readers_show_decisions(photos, model, tmp_path):
    out = tmp_path / "out"
    run_folder(photos, model, out)
    assert "Decision" not in (out / "report.html").read_text()
    assert read_status(out).decisions == {}
    assert "decision" not in format_status(read_status(out))
    save_decision(model, positive=("class-1", "class-2"))
    run_folder(photos, model, out)
    counts = ok_rows(out)["decision"].value_counts().to_dict()
    assert read_status(out).decisions == {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}
    assert f"decisions: pass {counts.get('pass', 0)}, review" in format_status(read_status(out))
    page = (out / "report.html").read_text()
    assert "<h2>Decisions</h2>" in page
    assert '<select name="decision">' in page
    (index,) = (out / "report").glob("*/index.js")
    content = json.loads(index.read_text().removeprefix("vitrolloutIndex(").removesuffix(");\n"))
    frame = pipeline.read_results(out)
    assert content["decision"] == frame["decision"].astype(object).where(frame["decision"].notna(), None).tolist()
    # old parts without the columns beside new ones
    query = f"SELECT count(decision) FROM read_parquet('{out}/table/*.parquet', union_by_name = true)"
    assert duckdb.sql(query).fetchall() == [(12,)]
    pipeline.compact(out)
    assert ok_rows(out)["decision"].value_counts().to_dict() == counts


def test_a_night_counts_decisions(photos, model, tmp_path):
    save_decision(model)
    (tmp_path / "nightly.toml").write_text(
        f'metrics_file = "night.prom"\n[defaults]\nmodel = "{model}"\nworkers = 1\noverlay_size = "none"\n'
        f'[[archive]]\ninput = "{photos}"\nout = "out"\n'
    )
    done = run_vitrollout("nightly", tmp_path / "nightly.toml")
    assert done.returncode in (0, 3), done.stderr
    counts = ok_rows(tmp_path / "out")["decision"].value_counts()
    metrics = metrics_of(tmp_path / "night.prom")
    found = {outcome: metrics[f'vitrollout_decisions{{archive="photos",decision="{outcome}"}}'] for outcome in OUTCOMES}
    assert found == {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.write_text("{"), "Invalid JSON"),
        (lambda file: file.write_text(file.read_text().replace("class-1", "burr")), "the model has no class burr"),
        (
            lambda file: file.write_text(file.read_text().replace('"model_digest": "', '"model_digest": "0')),
            "other weights",
        ),
    ],
)
def test_a_decision_that_does_not_fit_stops_the_run_first(damage, words, photos, model, tmp_path):
    save_decision(model)
    damage(model / DECISION_FILE)
    done = run_vitrollout("run", photos, "--out", tmp_path / "out", "--model", model)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert words in line
    assert line.endswith("--save-decision, or remove the file")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match=words):
        pipeline.load_model(str(model))


def test_a_decision_copied_to_other_weights_is_refused(photos, model, tmp_path):
    save_decision(model)
    other = save_tiny_vit(tmp_path / "other", seed=1)
    shutil.copy(model / DECISION_FILE, other)
    with pytest.raises(ModelError, match="chosen for other weights or another preprocessing; choose it again"):
        run_folder(photos, other, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"input_size": (48, 48)}, "48x48 --precision fp32"), ({"precision": "bf16"}, "none --precision bf16")],
)
def test_scores_of_another_size_or_precision_are_warned_of(changes, words, photos, model, tmp_path, caplog):
    save_decision(model)
    run_folder(photos, model, tmp_path / "out", limit=1)
    assert "scores differ" not in caplog.text
    run_folder(photos, model, tmp_path / "out", limit=1, **changes)
    assert (
        f"decision.json was chosen with --input-size none --precision fp32: with --input-size {words} scores"
        in caplog.text
    )


def test_a_notebook_sees_the_decision_of_a_run(photos, model, tmp_path):
    files = [photos / f"photo-{number:04d}.png" for number in range(3)]
    (plain,) = pipeline.load_model(str(model), precision="fp32").predict(files[0])
    assert (plain.defect_score, plain.decision) == (None, None)
    save_decision(model, positive=("class-1", "class-2"))
    run_folder(photos, model, tmp_path / "out")
    rows = ok_rows(tmp_path / "out")
    for file, prediction in zip(files, pipeline.load_model(str(model), precision="fp32").predict(files), strict=True):
        assert prediction.defect_score == pytest.approx(rows.loc[file.name, "defect_score"], abs=1e-5)
        assert prediction.decision == rows.loc[file.name, "decision"]
