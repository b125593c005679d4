"""Reviews of a results folder over its life: runs, changes, moves, repairs, compactions, reports."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import pipeline
from pipeline.errors import ConfigError, StoreError
from pipeline.report.status import format_status, read_status
from pipeline.report.write_page import write_report
from pipeline.results.report_age import report_knows_all
from pipeline.reviews.files import folded_files, session_files
from pipeline.reviews.session import ReviewSession
from tests.helpers.commands import run_vitrollout
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos
from tests.helpers.reviews import make_review, write_reviews
from tests.helpers.tables import flip_a_bit


@pytest.fixture
def start(tmp_path, tiny_vit):
    """Runs over tmp_path/photos into tmp_path/out, with a tiny model."""

    def run(**settings):
        defaults = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": str(tiny_vit), "workers": 1}
        return pipeline.run(pipeline.RunConfig(**defaults | settings))

    return run


@pytest.fixture
def out(tmp_path, start):
    """The results of six photos."""
    save_photos(tmp_path / "photos", 6)
    start()
    return tmp_path / "out"


def review_row(out, number, label=None, **changes):
    """Return the review of a row of the table: its label confirmed, or corrected to another one."""
    row = pipeline.read_results(out).iloc[number]
    verdict = "confirmed" if label in (None, row["label"]) else "corrected"
    return make_review(
        row["path"], label or row["label"], **{"verdict": verdict, "content_hash": row["content_hash"],
        "label_before": row["label"], "fingerprint": row["fingerprint"]} | changes
    )  # fmt: skip


def verdicts_of(out):
    return pipeline.read_results(out, ["path"], reviews=True).set_index("path")["verdict"].dropna().to_dict()


def test_columns_beside_a_selection(out):
    write_reviews(out, [review_row(out, 0), review_row(out, 1, "other")])
    plain = pipeline.read_results(out)
    frame = pipeline.read_results(out, reviews=True)
    assert list(frame) == [*plain, "reviewed_label", "verdict", "agrees"]
    assert frame[list(plain)].astype(str).equals(plain.astype(str))
    assert frame["agrees"][:2].tolist() == [True, False]
    some = pipeline.read_results(out, ["score"], [("path", "!=", "photo-0000.png")], reviews=True)
    assert list(some) == ["score", "reviewed_label", "verdict", "agrees"]
    assert some["reviewed_label"][0] == "other"
    assert len(some) == 5
    with pytest.raises(ConfigError, match="no such column: verdict"):
        pipeline.read_results(out, ["verdict"], reviews=True)
    with pytest.raises(ConfigError, match="no such column: agrees"):
        pipeline.read_results(out, where=[("agrees", "==", True)], reviews=True)


def test_no_reviews_are_missing_values(out):
    frame = pipeline.read_results(out, ["path"], reviews=True)
    assert frame[["reviewed_label", "verdict", "agrees"]].isna().all(axis=None)
    assert not (out / "reviews").exists()


def test_a_changed_photo_keeps_its_old_review_as_stale(tmp_path, start, out):
    write_reviews(out, [review_row(out, 0), review_row(out, 1)])
    save_photos(tmp_path / "photos", 1, seed=9)  # another photo under the name of the first
    assert start().changed == 1
    assert verdicts_of(out) == {"photo-0001.png": "confirmed"}
    reviews = read_status(out).reviews
    assert (reviews.reviewed, reviews.stale) == (1, 1)
    assert len(pipeline.read_reviews(out)) == 2


def test_a_moved_photo_keeps_its_review(tmp_path, start, out):
    write_reviews(out, [review_row(out, 0)])
    (tmp_path / "photos" / "sub").mkdir()
    os.replace(tmp_path / "photos" / "photo-0000.png", tmp_path / "photos" / "sub" / "moved.png")
    start()
    assert verdicts_of(out)["sub/moved.png"] == "confirmed"
    assert pipeline.compact(out, prune=True).pruned == 1
    assert verdicts_of(out) == {"sub/moved.png": "confirmed"}
    assert read_status(out).reviews.stale == 0


def test_reviews_outlive_everything_done_to_the_table(tmp_path, start, out):
    records = [review_row(out, number) for number in range(6)]
    write_reviews(out, records[:2])
    pipeline.compact(out)
    write_reviews(out, records[2:4], "Ben")
    shutil.copytree(tmp_path / "photos", tmp_path / "elsewhere")
    before = {file.name: file.read_bytes() for file in (out / "reviews").iterdir()}
    start(input=tmp_path / "elsewhere", rebind=True)
    flip_a_bit(next(iter((out / "table").glob("*.parquet"))), "attention.list.element")
    start(input=tmp_path / "elsewhere", rebind=True, repair=True)
    (out / "tmp" / ("0" * 32)).touch()
    start(rebind=True, model=str(save_tiny_vit(tmp_path / "other", seed=1)))
    assert {file.name: file.read_bytes() for file in (out / "reviews").iterdir()} == before
    assert sorted(verdicts_of(out)) == [f"photo-{number:04d}.png" for number in range(4)]


def test_compaction_folds_ended_sessions(out):
    write_reviews(out, [review_row(out, 0)])
    with ReviewSession(out, "Ben") as session:
        session.append(review_row(out, 1))
        done = run_vitrollout("compact", out, "--prune")
        assert json.loads(done.stdout)["reviews_folded"] == 1
        assert session_files(out) == [session.file]
    assert len(folded_files(out)) == 1
    assert len(verdicts_of(out)) == 2


def test_a_new_model_contradicts_reviews(tmp_path, start, out, caplog):
    labels = pipeline.read_results(out)["label"].astype(str).tolist()
    write_reviews(out, [review_row(out, number) for number in range(6)])
    again = start()
    assert (again.processed, again.reviewed, again.contradicted) == (0, 0, 0)
    summary = start(model=str(save_tiny_vit(tmp_path / "other", seed=1)))
    now = pipeline.read_results(out)["label"].astype(str).tolist()
    differing = [f"photo-{number:04d}.png" for number in range(6) if labels[number] != now[number]]
    assert differing
    assert (summary.reviewed, summary.agreed) == (6, 6 - len(differing))
    assert (summary.contradicted, summary.contradicted_photos) == (len(differing), differing)
    record = json.loads((out / "runs" / f"{summary.run_id}.json").read_text())
    assert (record["contradicted"], record["contradicted_photos"]) == (len(differing), differing)
    assert f"the new model contradicts {len(differing)} reviews" in caplog.text
    assert f"contradicts {len(differing)} reviews" in (out / "report.html").read_text()
    assert read_status(out).reviews.contradicted == len(differing)


def test_status_counts_reviews(out):
    assert read_status(out).reviews is None
    assert "reviews" not in format_status(read_status(out))
    blind = {"order": "audit", "blind": True}
    write_reviews(out, [review_row(out, 0, **blind), review_row(out, 1, "other"), review_row(out, 2)])
    write_reviews(out, [review_row(out, 2, "another", who="Ben")], "Ben")
    done = run_vitrollout("status", out)
    line = "reviews: reviewed 2, agrees 50.0%; 1 disputed; accuracy by audit 1 (0.025 to 1) of 1 photos"
    assert line in done.stdout.splitlines()
    reviews = json.loads(run_vitrollout("status", out, "--json").stdout)["reviews"]
    assert (reviews["reviewed"], reviews["disputed"], reviews["audit"]["correct"]) == (2, 1, 1)


def test_photos_of_the_training_are_no_witnesses(tmp_path, start, out):
    model = save_tiny_vit(tmp_path / "mine")
    start(model=str(model))
    blind = {"order": "audit", "blind": True}
    write_reviews(out, [review_row(out, number, **blind) for number in range(6)])
    assert read_status(out).reviews.audit.photos == 6
    lines = [f"photo-{number:04d}.png,x,{split},../photos" for number, split in enumerate(["train", "val", "test"])]
    (model / "split.csv").write_text("\n".join(["path,label,split,root", *lines]) + "\n")
    assert read_status(out).reviews.audit.photos == 4


def test_run_writes_the_report_again_after_reviews(start, out):
    def page():
        return (out / "report.html").read_text()

    before = page()
    assert "Review" not in before
    start()
    assert page() == before
    with ReviewSession(out, "Ann") as session:
        start()
        assert page() == before  # an empty session says nothing
        session.append(review_row(out, 0))
        start()
        assert "Reviews: reviewed 1, agrees 100.0%." in page()
        session.append(review_row(out, 1))
        start()
        assert "Reviews: reviewed 2" in page()
    before = page()
    pipeline.compact(out)
    start()
    assert page() == before  # folded, not changed


def test_a_review_during_a_compaction_is_not_forgotten_by_the_report(out, monkeypatch):
    from pipeline.results import compact as compaction

    fold = compaction.fold_sessions
    write_report(out)
    with ReviewSession(out, "Ann") as session:

        def fold_and_review(folder):
            session.append(review_row(out, 0))
            return fold(folder)

        monkeypatch.setattr(compaction, "fold_sessions", fold_and_review)
        pipeline.compact(out)
        assert not report_knows_all(out)


def test_a_review_made_while_the_report_is_written_is_in_the_next_one(out, monkeypatch):
    from pipeline.report import write_page

    read = write_page.read_truths
    with ReviewSession(out, "Ann") as session:

        def read_and_review(folder):
            truths = read(folder)
            session.append(review_row(out, len(truths)))
            return truths

        monkeypatch.setattr(write_page, "read_truths", read_and_review)
        for _ in range(2):
            write_report(out)
            assert not report_knows_all(out)
        monkeypatch.undo()
        write_report(out)
        assert report_knows_all(out)


def test_damaged_reviews_stop_the_report_and_nothing_before_it(tmp_path, start, out):
    (out / "reviews").mkdir()
    (out / "reviews" / "part-20260101T000000Z-folded-0000.parquet").write_bytes(b"damaged")
    save_photos(tmp_path / "photos", 7)
    with pytest.raises(StoreError, match=r"0000.parquet: is damaged .*; restore it from a backup, or move it away"):
        start()
    assert len(pipeline.read_results(out)) == 7
    assert len(list((out / "runs").iterdir())) == 2


def test_run_with_nothing_to_do_reads_no_reviews(tmp_path, tiny_vit, start, out):
    write_reviews(out, [review_row(out, 0)])
    start(device="cpu")
    script = (
        "import sys, pipeline\n"
        "done = pipeline.run(pipeline.RunConfig(input=sys.argv[1], out=sys.argv[2], model=sys.argv[3], device='cpu'))\n"
        "print(done.done_before, *{'torch', 'pandas', 'pyarrow.json', 'pipeline.reviews.read'} & set(sys.modules))"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "photos"), str(out), str(tiny_vit)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6"]


def test_comparison_with_reviews_imports_no_pandas(out):
    write_reviews(out, [review_row(out, 0, fingerprint="other")])
    script = (
        "import sys; from pathlib import Path; from pipeline.report.agreement import compare_with_reviews\n"
        "from pipeline.results.names import part_files, run_id_of_part\n"
        "out = Path(sys.argv[1]); run_id = run_id_of_part(part_files(out)[0])\n"
        "print(compare_with_reviews(out, run_id).agreed, *{'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(out)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
