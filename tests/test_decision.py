"""Decisions by hand: scores, thresholds, the file beside a model, and their part of a fingerprint."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.decision import (
    DECISION_FILE,
    add_decision,
    check_decision,
    read_decision,
    without_decision,
    write_decision,
)
from pipeline.errors import ModelError
from tests.helpers.decisions import make_decision

LABELS = ("ok", "open", "short")


def test_scores_of_several_classes_are_summed_or_the_highest_one_counts():
    decision = make_decision(positive=("open", "short"))
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    np.testing.assert_allclose(decision.defect_score(probabilities, LABELS, "softmax"), [0.3, 0.9])
    np.testing.assert_allclose(decision.defect_score(probabilities, LABELS, "sigmoid"), [0.2, 0.6])
    assert decision.defect_score(probabilities, LABELS, "softmax").dtype == np.float32, "as in the table"


@pytest.mark.parametrize(
    ("score", "outcome"),
    [(0, "pass"), (0.19, "pass"), (0.2, "review"), (0.79, "review"), (0.8, "reject"), (1, "reject")],
)
def test_the_band_lies_between_the_thresholds(score, outcome):
    assert make_decision(pass_below=0.2, reject_from=0.8).decide(score) == outcome


def test_equal_thresholds_leave_nothing_to_review():
    decision = make_decision(pass_below=0.5, reject_from=0.5)
    assert [decision.decide(score) for score in (0.4999, 0.5, 0.5001)] == ["pass", "reject", "reject"]


def test_a_score_of_the_table_meets_its_own_threshold():
    """0.1 as float32 is 0.100000001: the column and the decision must tell the same."""
    decision = make_decision(pass_below=0.1, reject_from=0.7)
    assert decision.decide(float(np.float32(0.1))) == decision.decide(0.1) == "review"
    assert make_decision(pass_below=0.7).decide(float(np.float32(0.7))) == "review"
    assert decision.decide(float(np.float32(0.7))) == decision.decide(0.7) == "reject"  # 0.699999988 as float32


def test_photos_are_judged_by_their_logits():
    """Logits 0 and ln 3: a softmax of 1/4 and 3/4, sigmoids of 1/2 and 3/4."""
    logits = np.log(np.array([[1, 3], [3, 1]], np.float32))
    decision = make_decision(positive=("bad",), pass_below=0.3, reject_from=0.7)
    (first, second), (third, fourth) = (
        decision.judge(logits, ("ok", "bad"), scoring) for scoring in ("softmax", "sigmoid")
    )
    assert (first, second) == ((0.75, "reject"), (0.25, "pass"))
    assert (third, fourth) == ((0.75, "reject"), (0.5, "review"))


def test_a_decision_is_read_as_it_was_written(tmp_path):
    assert read_decision(tmp_path) is None
    decision = make_decision(positive=("open", "Kürzschluß"))
    file = write_decision(decision, tmp_path)
    assert file == tmp_path / DECISION_FILE
    assert read_decision(tmp_path) == decision
    assert [file.name for file in tmp_path.iterdir()] == [DECISION_FILE], "no temporary file is left"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"positive": []}, "positive: "),
        ({"positive": "open"}, "positive: must be a valid"),
        ({"pass_below": None}, "pass_below: must be a valid number"),
        ({"pass_below": 20}, "pass_below: must be less than or equal to 1"),
        ({"pass_below": 0.9}, "pass_below = 0.9 is above reject_from = 0.8"),
        ({"version": 2}, "version: must be 1"),
        ({"chosen_on": {}}, "chosen_on: data: Field required"),
    ],
)
def test_a_wrong_file_is_named_with_the_next_step(changes, reason, tmp_path):
    file = write_decision(make_decision(), tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ModelError) as refusal:
        read_decision(tmp_path)
    message = str(refusal.value)
    assert message.startswith(f"{file}: {reason}")
    assert message.endswith(f"vitrollout evaluate DATA --model {tmp_path} --save-decision, or remove the file")
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"pass_below": NaN}'])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / DECISION_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"decision\.json: .*; choose it again"):
        read_decision(tmp_path)


def test_a_file_out_of_reach_is_named(tmp_path):
    (tmp_path / DECISION_FILE).mkdir()
    with pytest.raises(ModelError, match=r"decision\.json: Is a directory; make it readable"):
        read_decision(tmp_path)


def test_a_decision_fits_one_model(tmp_path):
    decision = make_decision(positive=("open", "burr"))
    digest = decision.chosen_on.model_digest
    check_decision(decision, tmp_path, ("ok", "burr", "open"), digest)
    with pytest.raises(
        ModelError, match="positive: the model has no class burr, only ok, open, short; choose it again"
    ):
        check_decision(decision, tmp_path, LABELS, digest)
    with pytest.raises(ModelError, match="it was chosen for other weights or another preprocessing; choose it again"):
        check_decision(decision, tmp_path, ("ok", "burr", "open"), "other")


def test_a_fingerprint_tells_decisions_apart():
    decision = make_decision(positive=("open", "short"))
    marked = add_decision("f6680342a2f7", decision)
    assert add_decision("f6680342a2f7", None) == "f6680342a2f7", "tables of models without a decision stay current"
    assert without_decision(marked) == without_decision("f6680342a2f7") == "f6680342a2f7"
    same = [
        replace(decision, positive=("short", "open", "open")),
        replace(decision, chosen_on=replace(decision.chosen_on, chosen_at="tomorrow")),
    ]
    assert {add_decision("f6680342a2f7", other) for other in same} == {marked}
    others = [
        replace(decision, positive=("open",)),
        replace(decision, pass_below=0.3),
        replace(decision, reject_from=0.9),
    ]
    assert len({marked, *(add_decision("f6680342a2f7", other) for other in others)}) == 4
