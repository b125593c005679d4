"""The picture of a training."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipeline.training.figure import draw_training
from pipeline.training.validation import Metrics

LABELS = [f"class-{index}" for index in range(15)]


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """A function to draw a training; returns the axes."""
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *to, **how: drawn.append(figure) or save(figure, *to, **how))

    def make(history, labels=LABELS, best_by="macro_f1"):
        draw_training(history, labels, best_by, tmp_path / "training.png")
        with Image.open(tmp_path / "training.png") as picture:
            assert picture.width == 1500
        return drawn[-1].axes

    return make


def history_of(*macro_f1s, f1=()):
    return [Metrics(score, score, 1 - score, f1) for score in macro_f1s]


def test_the_saved_epoch_is_marked(draw):
    for axes in draw(history_of(0.2, 0.7, 0.7, 0.6, f1=(0.5, None)), ["a", "b"]):
        assert axes.lines[-1].get_xdata() == [3, 3]
    for axes in draw(history_of(0.5), best_by="loss"):  # one epoch, of a version that kept no F1
        assert axes.lines[-1].get_xdata() == [1, 1]


def test_of_many_classes_the_worst_are_drawn(draw):
    scores = tuple(index / 15 for index in range(15))
    classes = draw(history_of(0.4, 0.5, f1=scores))[2]
    assert [line.get_label() for line in classes.lines[:-1]] == LABELS[:12]
    assert classes.get_title() == "F1 by class, validation, the worst 12 of 15"
