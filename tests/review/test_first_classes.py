import json

import numpy as np

from pipeline.review.first_classes import list_model_classes
from pipeline.review.rows import read_rows
from tests.helpers.tables import make_row, write_run


def scored_row(path, model, **logits):
    """A row of a model with classes in the order of `logits`, with its best two."""
    best = sorted(logits, key=lambda name: -logits[name])[:2]
    values = np.array(list(logits.values()), np.float32)
    return make_row(path, model=model, label=best[0], top_labels=best, logits=values)


def classes_of(tmp_path, *rows):
    write_run(tmp_path / "out", tmp_path / "photos", list(rows))
    return list_model_classes(read_rows(tmp_path / "out"))


def test_from_the_config_of_a_local_model(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"id2label": {"1": "short", "0": "spur", "2": "ok"}}))
    assert classes_of(tmp_path, make_row("a.png", model=str(model))) == {str(model): ("spur", "short", "ok")}


def test_bundled_model(tmp_path):
    assert len(classes_of(tmp_path, make_row("a.png", model="bundled"))["bundled"]) > 1


def test_in_the_order_of_ids_from_the_table_of_a_distant_model(tmp_path):
    rows = [
        scored_row("a.png", "hub/model", spur=0.1, short=2.0, ok=1.0, never=-9),
        scored_row("b.png", "hub/model", spur=3.0, short=2.0, ok=-1.0, never=-9),
    ]
    assert classes_of(tmp_path, *rows) == {"hub/model": ("spur", "short", "ok")}


def test_a_damaged_config_is_passed_over(tmp_path):
    (tmp_path / "config.json").write_text("{}{")
    row = scored_row("a.png", str(tmp_path), spur=0.1, short=2.0)
    assert classes_of(tmp_path, row) == {str(tmp_path): ("spur", "short")}


def test_two_models(tmp_path):
    rows = [scored_row("a.png", "one", x=1, y=2), scored_row("b.png", "two", z=1, y=2)]
    assert classes_of(tmp_path, *rows) == {"one": ("x", "y"), "two": ("z", "y")}
