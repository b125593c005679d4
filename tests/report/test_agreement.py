"""A run beside reviews made under another model."""

import logging

import pytest

from pipeline.report.agreement import ReviewAgreement, compare_with_reviews
from tests.helpers.reviews import make_review, write_reviews
from tests.helpers.tables import make_row, write_run


@pytest.fixture
def out(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "out"


def run_photos(out, **labels):
    """Write a run by another model than that of the reviews, photos in two parts; return its id."""
    rows = [make_row(f"{name}.png", content_hash=name, label=label, fingerprint="f2") for name, label in labels.items()]
    return write_run(out, out.parent / "photos", rows[:1], rows[1:])


def test_a_new_model_beside_earlier_reviews(out, caplog):
    reviews = [
        make_review("a.png", fingerprint="f1"),
        make_review("b.png", fingerprint="f1"),
        make_review("c.png", label_before="open", verdict="corrected", fingerprint="f1"),
        make_review("d.png", fingerprint="f2"),
        make_review("e.png", None, fingerprint="f1"),
        make_review("f.png", fingerprint="f1"),
        make_review("g.png", fingerprint="f1"),
    ]
    write_reviews(out, reviews)
    run_id = run_photos(out, g="ok", a="short", b="open", c="open", d="ok", e="ok", f=None, h="ok")
    found = compare_with_reviews(out, run_id)
    # d was reviewed beside this model, e has no label, f failed, h was never reviewed
    assert (found.photos, found.agreed, found.contradicted) == (4, 1, ["b.png", "g.png"])
    assert f"contradicts 2 reviews; see them with vitrollout review {out} --order contradicted" in caplog.text


def test_rows_of_other_runs_do_not_count(out):
    write_reviews(out, [make_review("a.png", fingerprint="f1"), make_review("b.png", fingerprint="f1")])
    run_photos(out, a="open")
    assert compare_with_reviews(out, run_photos(out, b="open")).contradicted == ["b.png"]


def test_a_moved_photo_is_named_by_its_new_place(out):
    write_reviews(out, [make_review("old/a.png", content_hash="a", fingerprint="f1")])
    assert compare_with_reviews(out, run_photos(out, a="open")).contradicted == ["a.png"]


def test_no_rows_or_no_reviews(out):
    run_id = run_photos(out, a="short")
    assert compare_with_reviews(out, run_id) == ReviewAgreement()
    write_reviews(out, [make_review("a.png", fingerprint="f1")])
    assert compare_with_reviews(out, run_id).photos == 1
    assert compare_with_reviews(out, "20270101T000000Z") == ReviewAgreement()


@pytest.mark.parametrize("file", ["part-20260101T000000Z-x-0000.parquet", "classes.json"])
def test_damaged_reviews_stop_no_run(out, file, caplog):
    run_id = run_photos(out, a="open")
    write_reviews(out, [make_review("a.png", fingerprint="f1")])
    (out / "reviews" / file).write_text("damaged")
    with caplog.at_level(logging.WARNING):
        assert compare_with_reviews(out, run_id) == ReviewAgreement()
    assert f"the labels of this run are not compared with reviews: {out / 'reviews' / file}" in caplog.text
