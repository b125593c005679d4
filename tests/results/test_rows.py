"""Rows of the table: with the model's decision from the start, or judged again by their logits."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.decision import add_decision
from pipeline.model.familiarity import fit_familiarity
from pipeline.model.targets import LabelGroup, Targets
from pipeline.records import Detection, ImageRef, Prediction, Sample, TiledResult, Tiles, best_scores, compute_scores
from pipeline.results.done_index import read_done_index
from pipeline.results.folder import ResultsFolder
from pipeline.results.read import read_results
from pipeline.results.restamp import restamp, split_touched
from pipeline.results.rows import RowBuilder
from pipeline.results.schema import SCHEMA, to_table
from tests.helpers.decisions import make_decision
from tests.helpers.tables import FAILED, make_row, write_run

LABELS = ("ok", "bad")
QUARTERS = np.log(np.array([3, 1], np.float32)), np.log(np.array([1, 3], np.float32))  # softmax of "bad": 1/4, 3/4


def builder(decision, scoring="softmax"):
    return RowBuilder(
        LABELS, "model", "rollout", "r", lambda path: add_decision("f1", decision), Targets(), scoring, decision
    )


def predict(logits):
    ref = ImageRef("a.png", None, "a.png", 10, 5)
    sample = Sample(ref, "00", 30, 20, None, np.zeros((3, 8, 8), np.uint8), None)
    return Prediction(sample, np.asarray(logits, np.float32), np.ones((2, 2), np.float32))


def build(rows, *predictions):
    """Return the rows of photos as dicts."""
    count = len(predictions)
    return rows.build_ok(predictions, [(0, 0, 30, 20)] * count, [None] * count).to_pylist()


@pytest.mark.parametrize(
    ("scoring", "expected"),
    [("softmax", [(0.25, "pass"), (0.75, "reject")]), ("sigmoid", [(0.5, "review"), (0.75, "reject")])],
)
def test_new_rows_have_the_decision_of_the_model(scoring, expected):
    rows = builder(make_decision(positive=("bad",), pass_below=0.3, reject_from=0.7), scoring)
    built = build(rows, *map(predict, QUARTERS))
    assert [(row["defect_score"], row["decision"]) for row in built] == expected
    (plain,) = build(builder(None), predict(QUARTERS[0]))
    assert (plain["defect_score"], plain["decision"]) == (None, None)


def test_rows_of_a_batch_are_those_of_each_photo_alone():
    """Photos in windows have maps of their own sizes, and windows of their own number."""
    random = np.random.default_rng(0)
    photos = []
    for number, grid in enumerate([(2, 2), (3, 5), (1, 4)]):
        photo = predict(random.normal(size=2))
        boxes = tuple((left, 0, left + 9, 9) for left in range(number + 1))
        logits = random.normal(size=(len(boxes), 2)).astype(np.float32)
        found = [Detection((0, 0, 4, 5), 1, 0.75)] * number
        photos.append(
            replace(
                photo,
                sample=replace(photo.sample, note="first of 3 frames" if number else None, tiles=Tiles(boxes)),
                attention=random.random(grid, dtype=np.float32),
                more_maps={"article": random.random(grid, dtype=np.float32)},
                target=number % 2,
                tiled=TiledResult(number or None, found, None, logits, None),
            )
        )
    rows = replace(builder(make_decision(positive=("bad",))), tile=9, targets=Targets(versus=LabelGroup((1,))))
    together = build(rows, *photos)
    alone = [row for photo in photos for row in build(rows, photo)]
    for one, other in zip(together, alone, strict=True):
        assert one | {"processed_at": None} == other | {"processed_at": None}
    assert [row["tiles"] for row in together] == [1, 2, 3]
    assert [row["tile_box"] for row in together] == [None, [1, 0, 10, 9], [2, 0, 11, 9]]
    assert [len(row["detections"]) for row in together] == [0, 1, 2]
    assert [len(row["attention"]) for row in together] == [4, 15, 4]
    assert together[1]["more_maps"] == [("article", photos[1].more_maps["article"].ravel().tolist())]
    assert [row["note"] for row in together] == [
        None,
        "first of 3 frames; target and versus are the same label, so nothing sets them apart",
        "first of 3 frames",
    ]


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_best_classes_come_in_the_order_of_their_probabilities_then_of_their_ids(scoring):
    logits = np.random.default_rng(0).integers(-3, 3, (20, 9)).astype(np.float32)  # with ties
    top, scores = best_scores(logits, scoring)
    assert top.tolist() == np.argsort(-logits, axis=1, kind="stable")[:, :5].tolist()
    np.testing.assert_array_equal(scores, np.take_along_axis(compute_scores(logits, scoring), top, axis=1))
    assert best_scores(logits[0, :2], scoring)[0].tolist() == np.argsort(-logits[0, :2], kind="stable").tolist()


def test_no_photos_are_no_rows():
    assert builder(None).build_ok([], [], []).equals(SCHEMA.empty_table())
    assert builder(None).build_failed([]).equals(SCHEMA.empty_table())


def test_rows_have_no_embedding_unless_asked_for():
    prediction = replace(predict(QUARTERS[0]), features=np.array([0.5, -2, 1e5, -1e30], np.float32))
    plain, asked = (replace(builder(None), embeddings=asked) for asked in (False, True))
    assert (plain.needs_features, asked.needs_features) == (False, True)
    assert build(plain, prediction)[0]["embedding"] is None
    assert build(asked, prediction)[0]["embedding"] == [0.5, -2, 65504, -65504], "float16 ends there"


def test_photos_of_a_batch_are_compared_with_the_training_photos():
    features = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    familiarity = fit_familiarity(features[:200], [0] * 200, features[200:])
    rows = replace(builder(None), familiarity=familiarity)
    photos = [replace(predict(QUARTERS[0]), features=features[place] * (1 + place)) for place in range(4)]
    assert rows.needs_features
    rated = rows.rate_familiarity(photos)
    expected = familiarity.unfamiliarity(np.stack([photo.features for photo in photos]))
    assert rated == pytest.approx(expected.tolist())
    table = rows.build_ok(photos, [(0, 0, 30, 20)] * 4, rated)
    assert table["unfamiliar"].to_pylist() == np.array(rated, np.float32).tolist()
    assert rows.rate_familiarity([]) == []
    assert builder(None).rate_familiarity(photos) == [None] * 4


def test_rows_are_judged_again_by_their_logits():
    decision = make_decision(positive=("bad",), pass_below=0.3, reject_from=0.7)
    table = to_table(
        [make_row("a", logits=QUARTERS[1]), make_row("b", **FAILED, logits=None), make_row("c", logits=QUARTERS[0])]
    )
    judged = builder(decision).judge_again(table)
    assert judged["defect_score"].to_pylist() == [0.75, None, 0.25]
    assert judged["decision"].to_pylist() == ["reject", None, "pass"]
    assert set(judged["fingerprint"].to_pylist()) == {add_decision("f1", decision)}
    assert judged.schema == table.schema
    back = builder(None).judge_again(judged)
    assert back.equals(table), "without a decision the rows are as before"
    assert builder(decision).judge_again(table.slice(1, 1))["decision"].to_pylist() == [None]


def test_rows_in_a_folder_are_rewritten_once(out, source):
    """Rows of two parts, one of them replaced by a later run: only the current ones are judged."""
    write_run(out, source, [make_row("a.jpg", label="open"), make_row("b.jpg", logits=QUARTERS[1])])
    write_run(out, source, [make_row("a.jpg", logits=QUARTERS[0])])
    index = read_done_index(out)
    rows = index.current_rows()
    touched = split_touched(index, rows, index.mtime_ns[rows])
    decision = make_decision(positive=("bad",), pass_below=0.3, reject_from=0.7)
    before = read_results(out)
    with ResultsFolder(out, source) as results:
        restamp(results, touched, replace(builder(decision), run_id=results.run_id).judge_again)
    after = read_results(out)
    assert after["decision"].tolist() == ["pass", "reject"]
    assert len(list((out / "table").iterdir())) == 4
    same = ["path", "mtime", "label", "attention", "overlay", "processed_at"]
    assert after[same].astype(str).equals(before[same].astype(str))
