"""The queue as a whole: what is in it, beside its order."""

import numpy as np
import pytest

from pipeline.results.compact import compact
from pipeline.review.config import ReviewConfig
from pipeline.review.queue import build_queue
from pipeline.review.rows import read_rows
from pipeline.reviews.audit import audit_position
from tests.helpers.queues import hash_of, make_answer, make_photo, paths_of, queue_of, reasons_of, resolve

ALL_ORDERS = (
    "mixed margin score suspects contradicted changed methods drift outdated disputed unsure random audit".split()
)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def doubtful(path, score=0.6, **changes):
    return make_photo(path, {"open": score, "spur": 1 - score}, **changes)


def photos(count):
    """Return photos with rising scores."""
    return [doubtful(f"{number:03d}.png", 0.51 + 0.4 * number / count) for number in range(count)]


@pytest.mark.parametrize("order", ["mixed", "margin", "score", "random"])
def test_reviewed_photos_are_left_out(out, order):
    records = [make_answer("001.png", "open"), make_answer("002.png", None, who="Bob")]
    assert set(paths_of(queue_of(out, photos(4), records, order=order), out)) == {"000.png", "003.png"}


@pytest.mark.parametrize("order", ["mixed", "margin", "score", "random"])
def test_a_second_opinion_shows_what_others_have_reviewed(out, order):
    records = [make_answer("001.png", "open"), make_answer("002.png", "open", who="Bob")]
    queue = queue_of(out, photos(4), records, order=order, second_opinion=True)
    assert set(paths_of(queue, out)) == {"000.png", "001.png", "003.png"}


def test_an_answer_taken_back_reopens_the_photo(out):
    answer = make_answer("001.png", "open")
    back = make_answer("001.png", None, verdict="withdrawn", replaces=(answer.id,), minutes=1)
    assert "001.png" in paths_of(queue_of(out, photos(2), [answer, back], order="margin"), out)


@pytest.mark.parametrize("order", ["mixed", "margin", "score", "random", "audit"])
def test_copies_of_a_photo_are_shown_once(out, order):
    copy = doubtful("copy.png", 0.55, content_hash=hash_of("000.png"))
    queue = queue_of(out, [*photos(3), copy], order=order, audit=1 if order == "audit" else 0)
    assert len(queue.rows) == 3


def test_an_answer_about_a_copy_counts_for_both(out):
    copy = doubtful("copy.png", 0.55, content_hash=hash_of("000.png"))
    queue = queue_of(out, [*photos(2), copy], [make_answer("000.png", "open")], order="margin")
    assert paths_of(queue, out) == ["001.png"]


@pytest.mark.parametrize("order", ALL_ORDERS)
def test_only_selected_rows_are_shown(out, order, tmp_path):
    """Every order has photos in this table, and none of them once the condition selects no row."""
    queue_of(out, [doubtful("a.png")], order="margin")
    rows = read_rows(out)
    rows.selected[:] = False
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\na.png,spur\n")
    records = [make_answer("a.png", "open"), make_answer("a.png", "spur", who="Eve")]
    for some in ([], records):
        config = ReviewConfig(out=out, order=order, labels=labels, audit=1, who="Bob")
        queue = build_queue(rows, resolve(some), (), config)
        assert len(queue.rows) == 0
        assert queue.warnings[0] == "nothing to show: no photo meets --where"


def test_the_limit_is_the_number_of_photos(out):
    queue = queue_of(out, photos(5), order="margin", limit=2)
    assert paths_of(queue, out) == ["000.png", "001.png"]
    assert len(queue.is_audit) == 2


@pytest.mark.parametrize("order", ALL_ORDERS)
def test_an_empty_queue_says_why(out, order):
    records = [make_answer("a.png", None, verdict="rejected")]
    queue = queue_of(out, [doubtful("a.png")], records, order=order)
    assert len(queue.rows) == 0
    assert queue.warnings[0].startswith("nothing to show: ")
    assert len(queue.warnings) == 1


def test_photos_of_the_audit_are_blind_and_give_no_reason(out):
    queue = queue_of(out, photos(60), order="random", audit=0.5)
    assert 10 < queue.is_audit.sum() < 50
    positions = [audit_position(hash_of(path)) for path in paths_of(queue, out)]
    assert queue.is_audit.tolist() == [position < 0.5 for position in positions]
    assert {reason for reason, blind in zip(reasons_of(queue), queue.is_audit, strict=True) if blind} == {"audit"}


def test_photos_of_the_audit_are_open_to_see_once_answered(out):
    records = [make_answer("000.png", None)]
    queue = queue_of(out, photos(1), records, order="unsure", audit=1)
    assert queue.is_audit.tolist() == [False]
    assert reasons_of(queue) == ["Ann: unsure"]
    assert queue_of(out, (), records, order="random", audit=1, second_opinion=True).is_audit.tolist() == [True]


@pytest.mark.parametrize("order", ["margin", "methods", "changed"])
def test_a_compaction_meanwhile_is_no_harm(out, order):
    """Rows read before it, and its parts gone since."""
    first = [doubtful(f"{number}.png", more_maps=[("legrad", np.ones(6, np.float32))]) for number in range(3)]
    queue_of(out, first)
    queue_of(out, [doubtful("3.png")])
    rows = read_rows(out)
    compact(out)
    queue = build_queue(rows, {}, (), ReviewConfig(out=out, order=order, audit=0))
    assert len(queue.rows) == {"margin": 4, "methods": 3, "changed": 0}[order]


@pytest.mark.parametrize("order", ["margin", "score", "suspects"])
def test_orders_by_doubt_keep_out_of_the_audit(out, order, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"{number:03d}.png,spur\n" for number in range(60)))
    queue = queue_of(out, photos(60), order=order, audit=0.5, labels=labels)
    assert not queue.is_audit.any()
    assert all(audit_position(hash_of(path)) >= 0.5 for path in paths_of(queue, out))
    assert f"{60 - len(queue.rows)} photos are left out: kept for the audit" in queue.warnings


def test_the_mixed_order_has_a_photo_of_the_audit_in_every_tenth_place(out):
    queue = queue_of(out, photos(150), audit=0.1)
    audit = queue.is_audit.sum()
    assert audit >= 5
    assert np.flatnonzero(queue.is_audit)[:5].tolist() == [9, 19, 29, 39, 49]
    assert len(np.unique(queue.rows)) == 150
    assert queue.warnings == ()
    margin = paths_of(queue_of(out, order="margin", audit=0.1), out)
    assert [path for path, blind in zip(paths_of(queue, out), queue.is_audit, strict=True) if not blind] == margin


def test_the_mixed_order_begins_with_disputes_for_a_third_person(out):
    records = [
        make_answer("001.png", "open"),
        make_answer("001.png", "spur", who="Eve"),
        make_answer("002.png", "open"),
        make_answer("002.png", "spur", who="Bob"),
    ]
    queue = queue_of(out, photos(4), records)
    assert paths_of(queue, out) == ["001.png", "000.png", "003.png"]
    assert reasons_of(queue)[0] == "2 reviewers disagree: open, spur"
    queue = queue_of(out, (), records, second_opinion=True)
    assert paths_of(queue, out) == ["001.png", "000.png", "003.png"]
