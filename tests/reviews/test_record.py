"""One decision as a line of JSON and as a row of Parquet: the same after both."""

import json
import math
from dataclasses import fields, replace

import pyarrow.parquet as pq
import pytest

from pipeline.reviews.fold import fold_sessions
from pipeline.reviews.read import read_review_table
from pipeline.reviews.record import REVIEW_SCHEMA, ReviewBox, ReviewRecord, parse_record
from tests.helpers.reviews import make_box, make_review, write_reviews

FULL = make_review(
    "tray 1/“a”\n\u2028é.png",
    "短い",
    verdict="corrected",
    label_before="ok",
    score_before=0.75,
    boxes=(make_box(), ReviewBox(0.5, 1.25, 3, 4, "open", "map", "near the edge")),
    boxes_complete=True,
    replaces=("1" * 32, "2" * 32),
    how="box",
    order="mixed",
    blind=True,
    seconds=1.5,
    note='first\nsecond "line" </script>',
    fingerprint="f1",
    model="bundled",
    run_id="20260101T000000Z",
)


def as_record(row):
    boxes = tuple(ReviewBox(**box) for box in row["boxes"])
    return ReviewRecord(**row | {"boxes": boxes, "replaces": tuple(row["replaces"])})


def test_line_and_record_are_the_same():
    line = FULL.to_line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert parse_record(line) == FULL


@pytest.mark.parametrize("record", [FULL, make_review(label=None)], ids=["full", "short"])
def test_rows_of_both_formats_are_the_record(tmp_path, record):
    write_reviews(tmp_path, [record])
    (from_lines,) = read_review_table(tmp_path).to_pylist()
    fold_sessions(tmp_path)
    (from_parquet,) = read_review_table(tmp_path).to_pylist()
    assert as_record(from_lines) == as_record(from_parquet) == record


def test_schema_has_the_fields_of_the_record_in_their_order():
    assert REVIEW_SCHEMA.names == [field.name for field in fields(ReviewRecord)]
    box = REVIEW_SCHEMA.field("boxes").type.value_type
    assert [field.name for field in box] == [field.name for field in fields(ReviewBox)]


def test_files_have_the_types_of_the_schema(tmp_path):
    write_reviews(tmp_path, [FULL])
    fold_sessions(tmp_path)
    (file,) = (tmp_path / "reviews").glob("*.parquet")
    assert pq.read_schema(file).equals(REVIEW_SCHEMA)


@pytest.mark.parametrize("verdict", ["confirmed", "corrected"])
def test_an_answer_has_a_label(verdict):
    with pytest.raises(ValueError, match="goes with a label"):
        make_review(label=None, verdict=verdict)


@pytest.mark.parametrize("verdict", ["unsure", "rejected"])
def test_no_answer_has_none(verdict):
    with pytest.raises(ValueError, match="goes without a label"):
        make_review(label="short", verdict=verdict)


@pytest.mark.parametrize(
    "box", [make_box(x1=1), make_box(y0=12), make_box(x0=math.nan), make_box(y1=math.inf)], ids=str
)
def test_boxes_hold_pixels(box):
    with pytest.raises(ValueError, match="holds no pixels"):
        replace(FULL, boxes=(box,))


@pytest.mark.parametrize(
    "change",
    [{"verdict": "sure"}, {"verdict": None}, {"id": None}, {"boxes": [{"x0": 1}]}, {"label": None}, {"width": "wide"}],
    ids=str,
)
def test_lines_changed_by_hand_are_refused(change):
    with pytest.raises(ValueError, match=r"ReviewRecord|label"):
        parse_record(json.dumps(json.loads(FULL.to_line()) | change))
