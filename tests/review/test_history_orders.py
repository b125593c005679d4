"""Photos whose label has changed."""

import pytest

from tests.helpers.queues import make_answer, make_photo, paths_of, queue_of, reasons_of
from tests.helpers.tables import FAILED


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def answers(fingerprint, **labels):
    """Return a row for each photo with its label; a label may have a score."""
    given = {path: label if isinstance(label, tuple) else (label, 0.9) for path, label in labels.items()}
    return [make_photo(path, {label: score}, fingerprint=fingerprint) for path, (label, score) in given.items()]


def test_changed_labels_the_surest_first(out):
    queue_of(out, answers("f1", a="spur", b=("spur", 0.5), c="open", d="open"))
    queue = queue_of(out, answers("f2", a="open", b="open", c="open", new="ok"), order="changed")
    assert paths_of(queue, out) == ["a", "b"]
    assert reasons_of(queue) == ["was spur, now open", "was spur, now open"]


def test_the_fingerprint_just_before_counts(out):
    """A label that came back is no change; a run with the same model is not another model."""
    queue_of(out, answers("f1", a="spur", b="open", c="open"))
    queue_of(out, answers("f2", a="open", b="spur", c="spur"))
    queue_of(out, answers("f3", a="open", b="open", c="open"))
    queue = queue_of(out, answers("f3", c="ok"), order="changed")
    assert dict(zip(paths_of(queue, out), reasons_of(queue), strict=True)) == {
        "b": "was spur, now open",
        "c": "was spur, now ok",
    }


def test_another_decision_is_not_another_model(out):
    """A label changed by the model stays changed after a run under a new decision."""
    queue_of(out, answers("f1", a="spur"))
    queue_of(out, answers("f2", a="open"))
    queue = queue_of(out, answers("f2-d1", a="open"), order="changed")
    assert reasons_of(queue) == ["was spur, now open"]


def test_another_photo_under_the_same_path_is_no_change(out):
    queue_of(out, [make_photo("a", {"spur": 0.9}, content_hash="1" * 32)])
    queue = queue_of(out, answers("f2", a="open"), order="changed")
    assert len(queue.rows) == 0
    assert "no label differs" in queue.warnings[0]


def test_failures_and_reviewed_photos_are_left_out(out):
    first = answers("f1", a="spur", b="spur")
    queue_of(out, [first[0], make_photo("b", {"spur": 1}, **FAILED)])
    assert len(queue_of(out, answers("f2", a="open", b="open"), [make_answer("a", "open")], order="changed").rows) == 0
