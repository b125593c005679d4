"""Class ids: those of the starting model stay."""

import pytest

from pipeline.labelled.splits import LabelledPhoto
from pipeline.training.classes import choose_classes, read_class_names


def config_of(*names, architecture="ViTForImageClassification"):
    return {"architectures": [architecture], "id2label": {str(index): name for index, name in enumerate(names)}}


def choose(start, labels, order=(), **settings):
    photos = [LabelledPhoto(f"{label}.png", None, label) for label in labels]
    return choose_classes(start, photos, order, **{"keep_unseen": False} | settings)


def test_new_classes_follow_in_the_order_of_their_ids():
    start = config_of("short", "ok")
    assert choose(start, ["burr", "ok", "short", "axe"]) == ["short", "ok", "axe", "burr"]
    order = ["ok", "short", "burr", "spur", "axe"]  # nobody has seen a spur
    assert choose(start, ["burr", "ok", "short", "axe"], order) == ["short", "ok", "burr", "axe"]


def test_classes_without_photos_stay_in_a_results_folder(caplog):
    start = config_of("short", "ok", "open")
    assert choose(start, ["ok", "burr"], keep_unseen=True) == ["short", "ok", "open", "burr"]
    assert "no photos of 'short', 'open', classes of the starting model: they stay" in caplog.text
    assert choose(start, ["ok", "burr"]) == ["burr", "ok"]


@pytest.mark.parametrize(
    "start",
    [
        config_of("cat", "dog"),  # another task
        config_of("ok", "burr", architecture="ViTModel"),
        config_of("ok", "ok"),
        {"architectures": ["ViTForImageClassification"], "id2label": {"1": "ok", "2": "burr"}},
        {},
    ],
)
def test_other_models_lend_no_classes(start):
    assert choose(start, ["ok", "burr"], keep_unseen=True) == ["burr", "ok"]
    assert read_class_names(config_of("b", "a")) == ("b", "a")
