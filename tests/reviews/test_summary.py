"""Rows beside the truth about their photos, and what the audit may count."""

import random

import pandas as pd
import pytest

from pipeline.reviews.audit import audit_position
from pipeline.reviews.classes import ReviewClass, current_names
from pipeline.reviews.read import read_review_table
from pipeline.reviews.summary import add_reviews, summarise_reviews
from pipeline.reviews.truth import resolve_truths
from tests.helpers.reviews import make_review, write_reviews

BLIND = {"blind": True, "order": "mixed"}


@pytest.fixture
def truths_of(tmp_path):
    """A function from records to the truths of their photos."""

    def write_and_resolve(*records, renamed=()):
        write_reviews(tmp_path, records)
        return resolve_truths(read_review_table(tmp_path), dict(renamed))

    return write_and_resolve


def make_frame(**labels):
    """Return rows of photos by name, as a table has them; a label of None is a failed photo."""
    rows = [(f"{name}.png", name, label) for name, label in labels.items()]
    return pd.DataFrame(rows, columns=["path", "content_hash", "label"]).astype({"label": "category"})


def test_columns_beside_the_rows(truths_of):
    truths = truths_of(
        make_review("a.png"),
        make_review("b.png", "open", verdict="corrected"),
        make_review("c.png", None),
        make_review("d.png", None, verdict="rejected"),
        make_review("e.png"),
        make_review("e.png", "open", who="Ben"),
        make_review("f.png"),
    )
    frame = make_frame(a="short", b="short", c="short", d="short", e="short", f=None, g="short").iloc[::-1]
    found = add_reviews(frame, truths).iloc[::-1]
    assert found["reviewed_label"].tolist() == ["short", "open", None, None, None, "short", None]
    assert found["verdict"].tolist() == [
        "confirmed", "corrected", "unsure", "rejected", "disputed", "confirmed", None
    ]  # fmt: skip
    assert found["agrees"].astype(object).where(found["agrees"].notna(), None).tolist() == [
        True, False, None, None, None, None, None
    ]  # fmt: skip
    assert str(found["agrees"].dtype) == "boolean"
    assert found["agrees"].mean() == 0.5


def test_counts(truths_of):
    truths = truths_of(
        make_review("a.png"),
        make_review("b.png", "open", label_before="open"),
        make_review("c.png", "open", label_before="short"),
        make_review("d.png", None),
        make_review("e.png", None, verdict="rejected"),
        make_review("f.png"),
        make_review("f.png", "open", who="Ben"),
        make_review("g.png", content_hash="before"),
        make_review("gone.png"),
        make_review("h.png"),
    )
    summary = summarise_reviews(
        make_frame(a="short", b="short", c="short", d="ok", e="ok", f="ok", g="ok", h=None), truths
    )
    assert (summary.reviewed, summary.agrees, summary.disagrees) == (4, 1, 2)
    assert (summary.unsure, summary.rejected, summary.disputed, summary.stale) == (1, 1, 1, 1)
    assert summary.contradicted == 1  # b: the review of c never agreed with a model
    assert summary.audit is None
    assert summary.any
    assert summary.describe() == "reviewed 4, agrees 33.3%; 1 disputed, 1 unsure, 1 rejected, 1 stale"


def test_without_reviews_of_this_table(truths_of):
    summary = summarise_reviews(make_frame(a="short"), truths_of(make_review("gone.png")))
    assert not summary.any
    assert add_reviews(make_frame(a="short"), {})["agrees"].isna().all()
    assert len(add_reviews(make_frame(), {})) == 0


def test_a_moved_photo_is_not_stale(truths_of):
    frame = make_frame(a="short", b="short").assign(path=["moved.png", "a.png"])
    summary = summarise_reviews(frame, truths_of(make_review("a.png")))
    assert (summary.reviewed, summary.stale) == (1, 0)


def test_a_renamed_class_still_agrees(truths_of):
    renamed = current_names([ReviewClass(0, "spur", formerly=("spurr",))])
    truths = truths_of(make_review("a.png", "spurr"), make_review("b.png", "spur"), renamed=renamed)
    frame = make_frame(a="spurr", b="spurr")  # the model knows the earlier name alone
    assert add_reviews(frame, truths)["agrees"].tolist() == [True, True]
    assert add_reviews(frame, truths)["reviewed_label"].tolist() == ["spur", "spur"]
    assert summarise_reviews(frame, truths).contradicted == 0


def test_the_audit_counts_blind_answers_only(truths_of):
    corrected = make_review("e.png", **BLIND)
    truths = truths_of(
        make_review("a.png", **BLIND),
        make_review("b.png", "open", **BLIND | {"order": "audit"}),
        make_review("c.png", order="margin"),
        make_review("d.png", order="mixed"),
        corrected,
        make_review("e.png", "open", order="suspects", replaces=(corrected.id,)),
        make_review("f.png", None, **BLIND),
        make_review("g.png", **BLIND),
        make_review("g.png", "open", who="Ben", order="disputed"),
        make_review("h.png", None, verdict="rejected", **BLIND),
        make_review("i.png", **BLIND),
        make_review("j.png", **BLIND),
        make_review("k.png", blind=True, order="suspects"),
    )
    labels = dict.fromkeys("abcdefghjk", "short") | {"i": None}
    frame = make_frame(**labels)
    audit = summarise_reviews(frame, truths).audit
    assert (audit.photos, audit.correct, audit.unsure) == (4, 2, 2)  # a, b, e, j; unsure f, disputed g
    audit = summarise_reviews(frame, truths, trained_on={"b.png", "x.png"}).audit
    assert (audit.photos, audit.correct, audit.unsure) == (3, 2, 2)


def test_two_copies_of_a_photo_are_one_witness(truths_of):
    frame = make_frame(a="short", b="short").assign(content_hash="a")
    truths = truths_of(make_review("a.png", **BLIND))
    assert summarise_reviews(frame, truths).audit.photos == 1
    assert summarise_reviews(frame, truths, trained_on={"b.png"}).audit is None


def test_doubt_driven_reviews_do_not_bias_the_audit(tmp_path):
    """A model right on 90%: 300 reviews of its least certain photos beside a tenth of the archive, blind."""
    chance = random.Random(0)
    names = [f"{number:05d}" for number in range(3000)]
    doubt = {name: chance.random() for name in names}
    truth = {name: "short" if chance.random() > 0.2 * doubt[name] else "open" for name in names}
    accuracy = sum(label == "short" for label in truth.values()) / len(names)
    audit = sorted((name for name in names if audit_position(name) < 0.1), key=audit_position)
    doubtful = sorted(names, key=doubt.get)[-300:]
    records = [make_review(f"{name}.png", truth[name], order="mixed") for name in doubtful]
    records += [make_review(f"{name}.png", truth[name], **BLIND) for name in audit]
    chance.shuffle(records)
    write_reviews(tmp_path, records[: len(records) * 3 // 4])
    truths = resolve_truths(read_review_table(tmp_path))
    summary = summarise_reviews(make_frame(**dict.fromkeys(names, "short")), truths)
    assert summary.agrees / summary.reviewed < accuracy - 0.02
    assert summary.audit.low < accuracy < summary.audit.high
    assert summary.audit.photos == pytest.approx(0.75 * len(audit), abs=30)
