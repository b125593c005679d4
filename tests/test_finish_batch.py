"""From predictions to rows and overlays, and the photos that stay with their decoders for an overlay."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.finish_batch import BatchFinisher
from pipeline.model.input_geometry import InputGeometry
from pipeline.model.targets import Targets
from pipeline.overlays.choice import parse_overlay_choice
from pipeline.progress import Stopwatch
from pipeline.records import Batch, Failure, ImageRef, Prediction, Sample
from pipeline.results.rows import RowBuilder

SURE, DOUBTFUL = [0.99] * 8, [0.7] * 2 + [0.99] * 6


def make_finisher(choice, sampled=()):
    rows = RowBuilder(("ok", "bad"), "model", "rollout", "run", lambda path: "f", Targets())
    overlays = SimpleNamespace(submit=lambda sample, *_, **__: f"{sample.ref.path}.png")
    geometry = InputGeometry((8, 8), None, None, 4)
    return BatchFinisher(rows, geometry, overlays, parse_overlay_choice(choice), set(sampled), Stopwatch())


def make_ref(name, file=None):
    return ImageRef(name, None, file or name, 1, 1)


def predict(name, score):
    sample = Sample(make_ref(name), "00", 8, 8, None, np.zeros((3, 8, 8), np.uint8), None)
    logits = np.log(np.array([score, 1 - score], np.float32))
    return Prediction(sample, logits, np.ones((2, 2), np.float32))


def finish(finisher, *scores):
    predictions = [predict(str(number), score) for number, score in enumerate(scores)]
    return finisher.finish(Batch(tuple(one.sample for one in predictions), ()), predictions)


def test_rows_name_the_overlays_of_the_chosen_photos():
    names = lambda choice: finish(make_finisher(choice), *DOUBTFUL).rows["overlay"].to_pylist()  # noqa: E731
    assert names("below:0.8") == ["0.png", "1.png", *[None] * 6]
    assert names("all") == [f"{number}.png" for number in range(8)]
    assert names("none") == [None] * 8


def test_a_score_is_compared_as_the_table_holds_it():
    finisher = make_finisher("below:0.9")
    rows = finish(finisher, 0.9, 0.89, 0.91).rows
    expected = [score < np.float32(0.9) for score in rows["score"].to_pylist()]
    assert [name is not None for name in rows["overlay"].to_pylist()] == expected


def test_photos_without_a_prediction_come_last_with_their_reasons(caplog):
    finisher = make_finisher("below:0.8")
    fine, broken = predict("fine", 0.7), predict("infinite", 0.7)
    broken.logits[0] = np.inf
    batch = Batch((broken.sample, fine.sample), (Failure(make_ref("torn"), "truncated", "11"),))
    finished = finisher.finish(batch, [broken, fine])
    assert finished.failed == 2
    rows = finished.rows.to_pylist()
    assert [(row["path"], row["status"]) for row in rows] == [
        ("fine", "ok"),
        ("torn", "failed"),
        ("infinite", "failed"),
    ]
    assert [row["overlay"] for row in rows] == ["fine.png", None, None]
    assert rows[1]["error"] == "truncated"
    assert "not finite" in rows[2]["error"]
    assert "torn: truncated" in caplog.text
    assert (finisher.photos, finisher.drawn) == (1, 1)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("below:0.8", [False, False, True, False, False]), ("all", [True] * 5), ("none", [False] * 5)],
)
def test_photos_are_kept_while_more_than_an_eighth_is_drawn(choice, expected):
    finisher, kept = make_finisher(choice), []
    for scores in (SURE, DOUBTFUL, DOUBTFUL, SURE, SURE):
        finish(finisher, *scores)
        kept.append(finisher.keeps(make_ref("next")))
    assert kept == expected


def test_a_sample_is_known_beforehand_and_an_object_is_fetched_once():
    sample = make_finisher("sample:1", sampled=["a"])
    assert [sample.keeps(make_ref(name)) for name in ("a", "b")] == [True, False]
    assert not sample.keeps(make_ref("b", "s3://bucket/b"))
    assert make_finisher("below:0.8").keeps(make_ref("a", "s3://bucket/a"))
