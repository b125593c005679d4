import pytest

from pipeline.review.examples import grid_page, guide_examples
from pipeline.review.refusals import BadRequestError
from tests.helpers.review_desk import PHOTOS, decide


def numbers(rows):
    return [row["row"] for row in rows]


def test_grid_has_one_label_most_certain_first(open_desk):
    page = grid_page(open_desk(), "short", None)
    assert {row["label"] for row in page["rows"]} == {"short"}
    scores = [row["score"] for row in page["rows"]]
    assert scores == sorted(scores, reverse=True)
    assert (len(scores), page["left"]) == (PHOTOS // 2, 0)


def test_grid_goes_on_after_a_row(open_desk, monkeypatch):
    monkeypatch.setattr("pipeline.review.examples._GRID", 4)
    desk = open_desk()
    first = grid_page(desk, "short", None)
    for row in first["rows"]:
        decide(desk, row["row"], "short", how="grid")
    second = grid_page(desk, "short", first["rows"][-1]["row"])
    assert (first["left"], second["left"], len(second["rows"])) == (2, 0, 2)
    assert not set(numbers(first["rows"])) & set(numbers(second["rows"]))
    assert numbers(grid_page(desk, "short", None)["rows"]) == numbers(second["rows"])


def test_grid_leaves_out_audit_and_reviewed_photos(open_desk):
    assert grid_page(open_desk(audit=1), "short", None)["rows"] == []
    desk = open_desk()
    decide(desk, 1, "open")
    assert 1 not in numbers(grid_page(desk, "short", None)["rows"])


def test_grid_takes_the_label_with_most_photos_left(open_desk):
    desk = open_desk()
    decide(desk, 0, "ok")
    assert grid_page(desk, None, None)["label"] == "short"
    with pytest.raises(BadRequestError, match="no photo is labelled"):
        grid_page(desk, "scratch", None)


def test_guide_shows_a_class_its_neighbours_and_its_border(open_desk):
    desk = open_desk()
    for row in range(0, 12, 2):  # all labelled ok by the model, the least certain first
        decide(desk, row, "ok" if row < 10 else "short")
    guide = guide_examples(desk, "ok")
    assert numbers(guide["examples"]) == [8, 6, 4, 2]
    assert numbers(guide["counter"]) == [10]
    assert numbers(guide["borderline"]) == [0]
    assert numbers(guide_examples(desk, "short")["examples"]) == [10]
    with pytest.raises(BadRequestError, match="no such class: 'scratch'"):
        guide_examples(desk, "scratch")
