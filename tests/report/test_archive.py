"""The table in numbers, counted in one pass, beside the same numbers by pandas over whole rows."""

import random
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.decision import OUTCOMES
from pipeline.errors import ConfigError, StoreError
from pipeline.report.archive import GALLERY_COLUMNS, read_archive
from pipeline.report.drift import LOW_CONFIDENCE
from pipeline.results.compact import compact
from pipeline.results.names import part_files
from pipeline.reviews.read import read_truths
from pipeline.reviews.summary import summarise_reviews
from tests.helpers.reviews import make_review, write_reviews
from tests.helpers.tables import FAILED, flip_a_bit, make_row, write_run

LABELS = ("short", "open", "ok", "scratch")
NO_TOP = {"top_labels": None, "top_scores": None, "overlay": None}


def make_random_row(chance, number):
    """Return the row of a photo: ok or failed, sure or not, decided or not."""
    path, at = f"{number % 7}/photo-{number:03}.png", 1_780_000_000_000_000 + chance.randrange(10**9)
    content_hash = f"{path} {chance.randrange(2)}"
    if chance.random() < 0.2:
        error, broken = chance.choice(["truncated", "empty", "out of reach"]), chance.random() < 0.5
        content_hash = content_hash if broken else None
        return make_row(path, **FAILED | NO_TOP | {"error": error, "content_hash": content_hash, "processed_at": at})
    outcome = chance.choice([*OUTCOMES, None])
    label, score = chance.choice(LABELS), chance.random()
    return make_row(path, label=label, score=score, decision=outcome, content_hash=content_hash, processed_at=at)


def make_random_review(chance, row):
    label, before = chance.choice(LABELS), chance.choice(LABELS)
    return make_review(row.path, label, label_before=before, content_hash=row.content_hash)


@pytest.fixture(params=range(4))
def out(request, tmp_path):
    """Four runs over overlapping photos, one with an empty part; people have reviewed some of the photos."""
    chance = random.Random(request.param)
    (tmp_path / "photos").mkdir()
    reviews = []
    for run in range(4):
        rows = [make_random_row(chance, number) for number in chance.sample(range(60 + 40 * run), 60)]
        write_run(tmp_path / "out", tmp_path / "photos", rows[:25], [] if run % 2 else rows[25:30], rows[30:])
        reviews += [make_random_review(chance, row) for row in rows[::6] if row.content_hash]
    write_reviews(tmp_path / "out", reviews)
    return tmp_path / "out"


def find_changes(out, frame):
    """Return number of new photos and Counter of (before, now) of the newest run, by looking at whole tables."""
    rows = pd.concat([pq.read_table(part, columns=["path", "label", "run_id"]).to_pandas() for part in part_files(out)])
    rows = rows.astype(object).fillna({"label": "failed"}).sort_values(["path", "run_id"], kind="stable")
    newest = frame["run_id"].astype(str).max()
    before = rows[rows["run_id"] < newest].groupby("path")["label"].last()
    now = frame[frame["run_id"] == newest].set_index("path")["label"].astype(object).fillna("failed")
    pairs = [(before.get(path), label) for path, label in now.items()]
    changed = Counter(pair for pair in pairs if pair[0] is not None and pair[0] != pair[1])
    return sum(earlier is None for earlier, _ in pairs), changed


def test_the_numbers_are_those_of_pandas(out):
    frame, truths = pipeline.read_results(out), read_truths(out)
    archive = read_archive(out, truths, failures=5)
    failed = frame[frame["status"] == "failed"].sort_values("processed_at", ascending=False)
    new, changed = find_changes(out, frame)
    assert (archive.photos, archive.failed, archive.parts) == (len(frame), len(failed), 12)
    assert archive.broken == failed["content_hash"].notna().sum()
    assert archive.labels == dict(Counter(frame["label"].dropna()))
    assert list(archive.labels.values()) == sorted(archive.labels.values(), reverse=True)
    assert archive.decisions == {outcome: (frame["decision"] == outcome).sum() for outcome in OUTCOMES}
    assert archive.reasons == dict(Counter(failed["error"]))
    assert archive.failures == list(zip(failed["path"], failed["error"], strict=True))[:5]
    assert archive.histogram == np.histogram(frame["score"].dropna(), bins=20, range=(0, 1))[0].tolist()
    assert archive.unsure == (frame["score"] < LOW_CONFIDENCE).sum()
    assert archive.new == new > 0
    assert {(before, now): photos for before, now, photos in archive.relabelled} == changed
    assert changed
    summary = summarise_reviews(frame, truths)
    assert summarise_reviews(archive.reviewed, truths) == summary
    assert min(summary.agrees, summary.disagrees, summary.stale) > 0


def test_the_gallery_of_a_small_table_has_every_row(out):
    frame = pipeline.read_results(out, GALLERY_COLUMNS)
    gallery = read_archive(out, {}, most_shown=len(frame)).gallery
    pd.testing.assert_frame_equal(gallery.frame.drop(columns="before"), frame, check_categorical=False)
    assert gallery.choice.groups == ()
    _, changed = find_changes(out, frame)
    shown = gallery.frame[gallery.frame["before"].notna()]
    assert Counter(zip(shown["before"], shown["label"].astype(object).fillna("failed"), strict=True)) == changed


def test_one_photo_more_and_the_gallery_is_a_choice(out):
    frame = pipeline.read_results(out, GALLERY_COLUMNS)
    gallery = read_archive(out, read_truths(out), most_shown=len(frame) - 1).gallery
    assert len(gallery.frame) <= len(frame) - 1
    assert sum(group.shown for group in gallery.choice.groups) == len(gallery.frame)
    assert gallery.frame["path"].is_monotonic_increasing
    rows = frame.set_index("path").loc[gallery.frame["path"]].reset_index()
    pd.testing.assert_frame_equal(gallery.frame[["path", "score", "error"]], rows[["path", "score", "error"]])
    assert gallery.choice.describe().startswith(f"The gallery shows {len(rows)} of {len(frame)} photos: ")


def test_without_a_gallery_no_row_is_shown(out):
    assert read_archive(out, {}).gallery.frame.empty


def test_failures_of_the_same_moment_are_sorted_by_path(tmp_path):
    rows = [make_row(path, **FAILED | NO_TOP) for path in ("c.png", "a.png", "b.png")]
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    archive = read_archive(tmp_path / "out", {}, failures=2)
    assert archive.failures == [("a.png", "truncated"), ("b.png", "truncated")]


def test_a_compacted_table_has_the_same_numbers_but_no_run_before(out):
    before = read_archive(out, {})
    compact(out)
    after = read_archive(out, {})
    assert (after.new, after.relabelled) == (0, [])
    for name in ("photos", "failed", "broken", "labels", "decisions", "reasons", "failures", "histogram", "unsure"):
        assert getattr(after, name) == getattr(before, name)


def test_tables_without_rows(tmp_path):
    write_run(tmp_path / "out", tmp_path / "photos", [], [])
    archive = read_archive(tmp_path / "out", {}, most_shown=10)
    assert (archive.photos, archive.parts, archive.labels, archive.new) == (0, 2, {}, 0)
    assert archive.gallery.frame.empty


def test_what_can_not_be_read(out, tmp_path):
    with pytest.raises(ConfigError, match="is not a results folder"):
        read_archive(tmp_path, {})
    flip_a_bit(part_files(out)[0], "score")
    with pytest.raises(StoreError, match="--repair sets it aside"):
        read_archive(out, {})
