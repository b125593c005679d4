"""The photos of a large table shown in the gallery, and how the page speaks of them."""

from collections import Counter

import numpy as np
import pytest

from pipeline.report.archive import read_archive
from pipeline.report.changes import Changes
from pipeline.report.gallery_choice import Choice, Group, ReviewedRows, choose_rows
from pipeline.reviews.read import read_truths
from tests.helpers.columns import make_columns
from tests.helpers.reviews import make_review, write_reviews
from tests.helpers.tables import FAILED, make_row, write_run

MOST_SHOWN = 200
NO_TOP = {"top_labels": None, "top_scores": None, "overlay": None}


@pytest.fixture
def out(tmp_path):
    """Of 1,000 photos: 40 failed, a few decided, reviewed, relabelled, new; two labels are rare."""
    (tmp_path / "photos").mkdir()
    scores = np.random.default_rng(0).uniform(0.5, 1, 1000)
    labels = ["rare"] * 3 + ["seldom"] * 30 + ["often"] * 967
    rows = [
        make_row(f"{number:04}.png", label=labels[number], score=scores[number], content_hash=f"{number:04}")
        for number in range(1000)
    ]
    for number in range(100, 140):
        rows[number] = make_row(f"{number:04}.png", **FAILED | NO_TOP | {"processed_at": 10**15 + number})
    for number, outcome in [(200, "reject"), (201, "review"), (202, "review"), (203, "pass")]:
        rows[number] = make_row(f"{number:04}.png", label="often", decision=outcome)
    write_run(tmp_path / "out", tmp_path / "photos", rows[:500], rows[500:990])
    changed = [make_row(f"{number:04}.png", label="seldom") for number in (300, 301)]
    write_run(tmp_path / "out", tmp_path / "photos", [*changed, *rows[990:]])
    write_reviews(
        tmp_path / "out",
        [
            make_review("0400.png", "often", content_hash="0400"),
            make_review("0401.png", "seldom", label_before="seldom", content_hash="0401"),
        ],
    )
    return tmp_path / "out"


def read_gallery(out, most_shown=MOST_SHOWN):
    return read_archive(out, read_truths(out), most_shown=most_shown).gallery


def test_a_large_table_shows_what_matters(out):
    gallery = read_gallery(out)
    paths = set(gallery.frame["path"])
    assert {group.what: (group.shown, group.photos) for group in gallery.choice.groups} == {
        "failed": (30, 40),
        "with the decision reject": (1, 1),
        "with the decision review": (2, 2),
        "with a review contradicted by the model": (1, 1),
        "with another label than before": (2, 2),
        "new": (10, 10),
        "reviewed": (1, 1),
        "least sure": (20, 20),
        "others spread over the labels": (len(paths) - 67,) * 2,
    }
    assert {f"{number:04}.png" for number in (200, 201, 202, 300, 301, 400, 401, *range(990, 1000))} <= paths
    assert {f"{number:04}.png" for number in range(110, 140)} <= paths  # the newest failures
    assert "0100.png" not in paths
    rest = gallery.frame[gallery.frame["status"] == "ok"]
    assert rest["score"].nsmallest(20).max() < 0.52
    assert Counter(rest["label"])["rare"] == 3  # all of a rare label
    assert 150 < len(paths) <= MOST_SHOWN


def test_the_sentence_about_the_choice(out):
    text = read_gallery(out).choice.describe()
    assert text.startswith("The gallery shows ")
    assert " of 1,000 photos: 30 of 40 failed, 1 with the decision reject, 2 with the decision review, 1 with a" in text
    groups = [Group("failed", 3000, 51_204), Group("new", 1000, 1000)]
    choice = Choice(np.arange(4000), 10_000_000, groups)
    assert choice.describe() == "The gallery shows 4,000 of 10,000,000 photos: 3,000 of 51,204 failed, 1,000 new."


def test_the_same_table_has_the_same_choice(out):
    assert read_gallery(out).frame["path"].tolist() == read_gallery(out).frame["path"].tolist()


@pytest.mark.parametrize("most_shown", [1000, 1001])
def test_up_to_the_threshold_every_photo_is_shown(out, most_shown):
    gallery = read_gallery(out, most_shown)
    assert len(gallery.frame) == 1000
    assert gallery.choice.groups == ()


def test_photos_of_a_first_run_are_not_called_new(tmp_path):
    write_run(tmp_path / "out", tmp_path / "photos", [make_row(f"{number}.png") for number in range(50)])
    whats = [group.what for group in read_gallery(tmp_path / "out", 40).choice.groups]
    assert whats == ["least sure", "others spread over the labels"]


def test_the_sample_of_a_huge_table_touches_few_blocks_but_every_label():
    labels = np.zeros(1_000_000, np.int32)
    labels[::100_000] = 1
    labels[::333] = 2
    none = np.empty(0, np.int64)
    choice = choose_rows(make_columns(labels), Changes(none, none, none), ReviewedRows(none, none), 100_000)
    counts = np.bincount(labels[choice.rows])
    assert counts[1] == (labels == 1).sum()
    assert counts[2] == pytest.approx(3000, abs=20)
    assert 16_000 < len(choice.rows) <= 20_000
    blocks = np.unique(choice.rows[labels[choice.rows] == 0] // 1024)
    assert 20 < len(blocks) < 200  # of 977


def test_a_large_table_of_failures(tmp_path):
    rows = [make_row(f"{number}.png", **FAILED | NO_TOP) for number in range(50)]
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    gallery = read_gallery(tmp_path / "out", 40)
    assert gallery.choice.describe() == "The gallery shows 6 of 50 photos: 6 of 50 failed."


def test_some_unfamiliar_photos_are_always_shown(tmp_path):
    rows = [make_row(f"{number:03}.png", score=0.5, unfamiliar=0.5 + number / 400) for number in range(200)]
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    gallery = read_gallery(tmp_path / "out", 30)
    groups = {group.what: (group.shown, group.photos) for group in gallery.choice.groups}
    assert groups["unlike the training photos"] == (3, 3)
    assert {"197.png", "198.png", "199.png"} <= set(gallery.frame["path"])
    assert "3 unlike the training photos" in gallery.choice.describe()
    write_run(tmp_path / "most", tmp_path / "photos", [make_row(row.path, unfamiliar=0.999) for row in rows])
    groups = {group.what: (group.shown, group.photos) for group in read_gallery(tmp_path / "most", 30).choice.groups}
    assert groups["unlike the training photos"] == (3, 200)  # and no more than their share
