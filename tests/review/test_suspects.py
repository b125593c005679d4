"""Suspects: photos whose given label the model doubts most."""

import json

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.review.suspects import order_suspects
from tests.helpers.queues import make_answer, make_photo, paths_of, queue_of, reasons_of
from tests.helpers.tables import make_record


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def labels(tmp_path):
    """Write lines of a labels.csv."""

    def write(*lines):
        file = tmp_path / "labels.csv"
        file.write_text("path,label\n" + "".join(f"{line}\n" for line in lines))
        return file

    return write


def photo(path, **scores):
    return make_photo(path, {"open": 0, "spur": 0, "ok": 0} | scores)


def test_planted_errors_come_first(out, labels):
    """Digits with 95 wrong labels, by out-of-fold probabilities of which the table keeps the best five."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    pixels, truth = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    wrong = random.choice(len(truth), 95, replace=False)
    given = truth.copy()
    given[wrong] = (truth[wrong] + random.integers(1, 10, len(wrong))) % 10
    neighbours = KNeighborsClassifier(15, weights="distance")
    probabilities = cross_val_predict(neighbours, pixels, given, cv=5, method="predict_proba")
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    rows = [
        make_photo(f"{number:04d}.png", {str(label): probabilities[number, label] for label in best[number]})
        for number in range(len(truth))
    ]
    csv = labels(*(f"{number:04d}.png,{label}" for number, label in enumerate(given)))
    first = queue_of(out, rows, order="suspects", labels=csv).rows[:95]
    assert np.isin(first, wrong).mean() >= 0.9


def test_the_least_probable_label_comes_first_with_its_reason(out, labels):
    rows = [
        photo("a.png", open=0.9, ok=0.1),
        photo("b.png", open=0.5, ok=0.3, spur=0.2),
        photo("c.png", ok=0.99, open=0.01),
    ]
    queue = queue_of(out, rows, order="suspects", labels=labels("a.png,open", "b.png,spur", "c.png,open"))
    assert paths_of(queue, out) == ["c.png", "b.png", "a.png"]
    assert reasons_of(queue)[0] == "labels.csv says open, the model gives it 0.01"


def test_a_label_beyond_the_best_has_at_most_the_rest(out, labels):
    """The table has two scores of each photo: another one is no larger than the second, nor than the rest up to 1."""
    rows = [
        make_photo("known.png", {"open": 0.9, "ok": 0.04}),
        make_photo("rest.png", {"open": 0.6, "ok": 0.38}),
        make_photo("wide.png", {"open": 0.5, "ok": 0.1}),
        make_photo("spur.png", {"spur": 0.95, "ok": 0.05}),
    ]
    queue = queue_of(
        out, rows, order="suspects", labels=labels(*(f"{row.path},spur" for row in rows[:3]), "spur.png,ok")
    )
    assert reasons_of(queue) == [
        "labels.csv says spur, the model gives it 0.02",
        "labels.csv says spur, the model gives it 0.04",
        "labels.csv says ok, the model gives it 0.05",
        "labels.csv says spur, the model gives it 0.10",
    ]


def test_several_labels_of_a_photo_count_by_the_least_probable(out, labels):
    """With sigmoid scores, both labels of a photo may be right; a label beyond the best has at most the least score."""
    rows = [
        make_photo("both.png", {"open": 0.95, "spur": 0.9}),
        make_photo("one.png", {"open": 0.95, "spur": 0.2}),
        make_photo("none.png", {"open": 0.1, "ok": 0.05}),
    ]
    csv = labels("both.png,open", "both.png,spur", "both.png,ok", "one.png,open", "one.png,spur", "none.png,spur")
    queue = queue_of(out, rows, order="suspects", labels=csv)
    assert reasons_of(queue) == [
        "labels.csv says spur, the model gives it 0.05",
        "labels.csv says spur, the model gives it 0.20",
        "labels.csv says spur, the model gives it 0.90",
    ]


def test_labels_unknown_to_the_model_are_left_out_and_counted(out, labels):
    rows = [photo("a.png", open=0.9), photo("b.png", open=0.9)]
    queue = queue_of(out, rows, order="suspects", labels=labels("a.png,burr", "b.png,spur"))
    assert paths_of(queue, out) == ["b.png"]
    assert queue.warnings == ("1 photo is left out: labelled with a class unknown to the model",)


def test_a_renamed_class_keeps_its_probability(out, labels):
    (out / "reviews").mkdir(parents=True)
    classes = [{"id": 0, "name": "gap", "formerly": ["open"]}, {"id": 1, "name": "ok"}]
    (out / "reviews" / "classes.json").write_text(json.dumps(classes))
    queue = queue_of(out, [photo("a.png", open=0.7, ok=0.3)], order="suspects", labels=labels("a.png,gap"))
    assert reasons_of(queue) == ["labels.csv says gap, the model gives it 0.70"]


def test_without_a_csv_earlier_reviews_are_the_labels(out):
    rows = [photo("a.png", open=0.9, ok=0.1), photo("b.png", open=0.2, ok=0.8), photo("unseen.png", ok=0.9)]
    records = [make_answer("a.png", "open"), make_answer("b.png", "open")]
    queue = queue_of(out, rows, records, order="suspects")
    assert paths_of(queue, out) == ["b.png", "a.png"]
    assert reasons_of(queue)[0] == "reviewed as open, the model gives it 0.20"


def test_a_review_settles_the_label_of_the_csv(out, labels):
    rows = [photo("a.png", open=0.9), photo("b.png", open=0.9)]
    queue = queue_of(out, rows, [make_answer("a.png", "open")], order="suspects", labels=labels("a.png,ok", "b.png,ok"))
    assert paths_of(queue, out) == ["b.png"]


def test_paths_of_the_csv_may_be_absolute_or_in_another_form(out, labels, tmp_path):
    rows = [photo("a.png", open=0.9), photo("b.png", open=0.9), photo("\u00fc.png", open=0.9)]
    csv = labels(f"{tmp_path / 'photos' / 'a.png'},ok", "./b.png,ok", "u\u0308.png,ok", "elsewhere.png,ok")
    assert len(queue_of(out, rows, order="suspects", labels=csv).rows) == 3


def test_a_csv_of_other_photos_is_refused(out, labels):
    with pytest.raises(DataError, match="names no photo of the table"):
        queue_of(out, [photo("a.png", open=0.9)], order="suspects", labels=labels("photos/a.png,ok"))


def write_model(tmp_path, out, lines, root="../../photos"):
    """Write the split.csv of a model, and the record of the first run with it."""
    model = tmp_path / "models" / "mine"
    model.mkdir(parents=True)
    text = "".join(f"{line},{root}\n" for line in lines)
    (model / "split.csv").write_text(f"path,label,split,root\n{text}")
    run_id = next((out / "table").glob("*.parquet")).stem.split("-")[1]
    record = make_record(tmp_path / "photos", run_id=run_id, settings={"model": str(model)})
    (out / "runs" / f"{run_id}.json").write_text(json.dumps(record.as_json()))


ROWS = ("a/train.png", "a/validation.png", "a/test.png", "a/new.png")


@pytest.mark.parametrize(
    ("names", "root"),
    [
        (("a/train.png", "a/validation.png", "a/test.png"), "../../photos"),
        (("train.png", "validation.png", "test.png"), "../../photos/a"),
        (("photos/a/train.png", "photos/a/validation.png", "photos/a/test.png"), "../.."),
        (("a/train.png", "a/validation.png", "a/test.png"), "../../gone"),
    ],
)
def test_photos_of_the_training_are_left_out_and_counted(out, labels, tmp_path, names, root):
    """By their place on the disk, or by their name if the data set is gone."""
    (tmp_path / "photos" / "a").mkdir(parents=True)
    csv = labels(*(f"{path},spur" for path in ROWS))
    queue_of(out, [photo(path, open=0.9) for path in ROWS])
    splits = ("train", "validation", "test")
    write_model(tmp_path, out, [f"{name},open,{split}" for name, split in zip(names, splits, strict=True)], root)
    queue = queue_of(out, order="suspects", labels=csv)
    assert paths_of(queue, out) == ["a/new.png", "a/test.png"]
    assert queue.warnings == (
        "2 photos are left out: used for the training of the model, which has learnt their labels",
    )


def test_a_photo_of_the_same_name_elsewhere_is_not_of_the_training(out, labels, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    queue_of(out, [photo("a.png", open=0.9)])
    write_model(tmp_path, out, ["a.png,open,train"], "../../elsewhere")
    assert len(queue_of(out, order="suspects", labels=labels("a.png,spur")).rows) == 1


def test_order_suspects_by_hand():
    rows, pairs = order_suspects(
        np.array([0, 1, 2, 2, 3]), np.array([0.5, np.nan, 0.9, 0.1, 0.5]), np.array([0.6, 0.9, 0.9, 0.7])
    )
    assert rows.tolist() == [2, 3, 0]
    assert pairs.tolist() == [3, 4, 0]
