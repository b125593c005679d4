import math

import pytest

from pipeline.review.refusals import BadRequestError
from pipeline.review.rows import read_rows
from pipeline.review.submission import Circumstances, make_record, parse_submission
from pipeline.reviews.record import ReviewBox, parse_record
from tests.helpers.tables import make_row, write_run

KNOWN = Circumstances("anna", "s", "margin", False, "short", frozenset({"ok", "short", "open"}))
CONTENT = {"id": "0" * 32, "content_hash": "00" * 16, "verdict": "confirmed", "label": "short"}
BOX = {"x0": 1, "y0": 2, "x1": 3.5, "y1": 4, "label": "open"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    write_run(out, out / "photos", [make_row("a.png")])  # 30 x 20 pixels
    return read_rows(out)


def record_of(rows, **changes):
    return make_record(parse_submission(CONTENT | changes), rows, 0, KNOWN)


def test_record_has_all_the_server_knows(rows):
    record = record_of(rows, seconds=1.25, note="blurred", boxes=[BOX], boxes_complete=True, how="box")
    assert (record.path, record.width, record.height, record.content_hash) == ("a.png", 30, 20, "00" * 16)
    assert (record.label_before, record.score_before, record.fingerprint, record.model) == (
        "short",
        0.75,
        "f1",
        "bundled",
    )
    assert (record.who, record.session, record.order, record.how) == ("anna", "s", "margin", "box")
    assert record.boxes == (ReviewBox(1, 2, 3.5, 4, "open"),)
    assert parse_record(record.to_line()) == record


@pytest.mark.parametrize("sent", ["confirmed", "corrected"])
@pytest.mark.parametrize(("label", "verdict"), [("short", "confirmed"), ("open", "corrected")])
def test_the_server_compares_with_the_model(rows, sent, label, verdict):
    """The page can't: it doesn't know the model's answer of a blind photo."""
    assert record_of(rows, verdict=sent, label=label).verdict == verdict


@pytest.mark.parametrize("verdict", ["unsure", "rejected"])
def test_verdicts_without_a_label(rows, verdict):
    assert record_of(rows, verdict=verdict, label=None).label is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": "0" * 31}, "id: "),
        ({"id": "A" * 32}, "id: "),
        ({"id": "0" * 32 + "\n"}, "id: "),
        ({"verdict": "maybe"}, "verdict: "),
        ({"label": "scratch"}, "label: no such class: 'scratch'"),
        ({"label": None}, "confirmed: needs a label"),
        ({"verdict": "unsure"}, "unsure: takes no label"),
        ({"verdict": "rejected", "label": None, "boxes_complete": True}, "rejected: takes no complete boxes"),
        ({"boxes": [BOX | {"x1": 30.5}]}, "reaches out of the photo, 30 x 20 pixels"),
        ({"boxes": [BOX | {"x0": -1}]}, "reaches out of the photo"),
        ({"boxes": [BOX | {"x1": 1}]}, "is empty"),
        ({"boxes": [BOX | {"y0": 10}]}, "is empty"),
        ({"boxes": [BOX | {"x0": math.nan}]}, "boxes.0.x0: "),
        ({"boxes": [BOX | {"x0": math.inf}]}, "boxes.0.x0: "),
        ({"boxes": [BOX | {"label": "scratch"}]}, "boxes: no such class: 'scratch'"),
        ({"boxes": [BOX | {"source": "guessed"}]}, "boxes.0.source: "),
        ({"boxes": [BOX] * 501}, "boxes: "),
        ({"boxes": "all"}, "boxes: "),
        ({"replaces": ["../x"]}, "replaces.0: "),
        ({"how": "../x"}, "how: "),
        ({"seconds": -1}, "seconds: "),
        ({"seconds": math.nan}, "seconds: "),
        ({"note": "x" * 4001}, "note: "),
        ({"content_hash": 5}, "content_hash: "),
    ],
)
def test_refused(rows, changes, reason):
    with pytest.raises(BadRequestError) as raised:
        record_of(rows, **changes)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [None, [], "text", 5, {}])
def test_not_a_record(content):
    with pytest.raises(BadRequestError):
        parse_submission(content)


def test_rounding_of_the_page_is_clipped(rows):
    box = BOX | {"x0": -0.001, "x1": 30.004}
    assert record_of(rows, boxes=[box]).boxes == (ReviewBox(0, 2, 30, 4, "open"),)
