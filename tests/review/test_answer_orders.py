"""Orders of photos with answers."""

import json

import pytest

from pipeline.reviews.record import ReviewBox
from tests.helpers.queues import make_answer, make_photo, paths_of, queue_of, reasons_of


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def photo(path, label="open", score=0.9):
    return make_photo(path, {label: score, "ok": 1 - score})


def box(x0, label="spur"):
    return ReviewBox(x0, 0, x0 + 10, 10, label)


def test_disputed(out):
    records = [
        make_answer("new.png", "open", minutes=5),
        make_answer("new.png", "spur", minutes=6, who="Bob"),
        make_answer("old.png", "open", minutes=1),
        make_answer("old.png", None, minutes=2, who="Bob"),
        make_answer("settled.png", "open"),
    ]
    rows = [photo("new.png"), photo("old.png"), photo("settled.png"), photo("unseen.png")]
    queue = queue_of(out, rows, records, order="disputed")
    assert paths_of(queue, out) == ["old.png", "new.png"]
    assert reasons_of(queue) == ["2 reviewers disagree: open, unsure", "2 reviewers disagree: open, spur"]


def test_a_dispute_about_boxes(out):
    records = [
        make_answer("a.png", "spur", boxes=(box(0),), boxes_complete=True),
        make_answer("a.png", "spur", boxes=(box(50),), boxes_complete=True, who="Bob"),
    ]
    reasons = reasons_of(queue_of(out, [photo("a.png")], records, order="disputed"))
    assert reasons == ["2 reviewers agree on spur, but not on its boxes"]


def test_unsure(out):
    records = [make_answer("b.png", None, minutes=3), make_answer("a.png", "open"), make_answer("c.png", None)]
    queue = queue_of(out, [photo("a.png"), photo("b.png"), photo("c.png")], records, order="unsure")
    assert paths_of(queue, out) == ["c.png", "b.png"]
    assert reasons_of(queue)[0] == "Ann: unsure"


def test_contradicted(out):
    """Photos where the model of the time agreed with the reviewer; a correction then is no contradiction now."""
    rows = [photo("a.png", "spur", 0.6), photo("b.png", "spur", 0.99), photo("agreed.png"), photo("corrected.png")]
    records = [
        make_answer("a.png", "open"),
        make_answer("b.png", "open"),
        make_answer("agreed.png", "open"),
        make_answer("corrected.png", "spur", verdict="corrected", label_before="open"),
    ]
    queue = queue_of(out, rows, records, order="contradicted")
    assert paths_of(queue, out) == ["b.png", "a.png"]
    assert reasons_of(queue)[0] == "the earlier model agreed with the reviewer, this one says spur"


def write_classes(out, classes):
    (out / "reviews").mkdir(parents=True)
    classes = [{"id": number, **each} for number, each in enumerate(classes)]
    (out / "reviews" / "classes.json").write_text(json.dumps(classes))


def test_outdated(out):
    """Reviewed before a class existed: those with its label by the model come first."""
    write_classes(
        out,
        [
            {"name": "open", "since": ""},
            {"name": "burr", "since": "2026-01-01T00:10:00+00:00"},
            {"name": "chip", "since": "2026-01-01T00:20:00+00:00"},
            {"name": "gone", "since": "2026-01-01T00:50:00+00:00", "retired": True},
        ],
    )
    names = ("before.png", "burr.png", "between.png", "after.png", "rejected.png")
    rows = [photo(name, "burr" if name == "burr.png" else "open") for name in names]
    records = [
        make_answer("before.png", "open", minutes=1),
        make_answer("burr.png", "open", minutes=2),
        make_answer("between.png", "open", minutes=15),
        make_answer("after.png", "open", minutes=30),
        make_answer("rejected.png", None, verdict="rejected"),
    ]
    queue = queue_of(out, rows, records, order="outdated")
    assert paths_of(queue, out) == ["burr.png", "before.png", "between.png"]
    assert reasons_of(queue) == [
        "reviewed before the classes burr, chip existed",
        "reviewed before the classes burr, chip existed",
        "reviewed before the class chip existed",
    ]


def test_a_renamed_class_is_no_contradiction(out):
    write_classes(out, [{"name": "gap", "formerly": ["open"]}, {"name": "ok"}])
    records = [make_answer("a.png", "gap", label_before="gap")]
    assert len(queue_of(out, [photo("a.png", "open")], records, order="contradicted").rows) == 0
