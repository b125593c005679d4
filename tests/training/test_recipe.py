"""The recipe of a training: fixed values, values kept for a resumed training, and words for the log."""

from dataclasses import replace

import pytest

from pipeline.training.config import FinetuneConfig
from pipeline.training.recipe import is_given, plain_recipe, read_recipe, write_recipe


def test_the_plain_recipe_is_that_of_earlier_versions(photos, tmp_path):
    recipe = plain_recipe(FinetuneConfig(data=photos, out=tmp_path / "out", recipe="plain"))
    assert (recipe.input_size, recipe.resize, recipe.blocks, recipe.train_blocks) == (224, "stretch", None, None)
    assert (recipe.epochs, recipe.patience, recipe.best_by) == (10, 3, "macro_f1")
    assert (recipe.learning_rate, recipe.layer_decay, recipe.weight_decay, recipe.warmup_share) == (
        1e-4,
        0.8,
        0.05,
        0.1,
    )
    assert (recipe.class_weights, recipe.label_smoothing, recipe.batch_size) == ("balanced", 0, 32)
    assert (recipe.flips, recipe.quarter_turns, recipe.brightness, recipe.contrast, recipe.crop) == (
        True,
        True,
        0.2,
        0.2,
        0.1,
    )
    assert (recipe.averaging, recipe.judges_start) == (0, False)


def test_given_values_stay(settings):
    recipe = plain_recipe(settings(blocks="all", averaging=0.9, patience="none", best_by="accuracy", minutes="none"))
    assert (recipe.blocks, recipe.averaging, recipe.patience, recipe.best_by) == (None, 0.9, None, "accuracy")


@pytest.mark.parametrize(
    ("changes", "crop"), [({}, 0.1), ({"tile": 64}, 0), ({"tile": 64, "crop": 0.2}, 0.2), ({"crop": 0.2}, 0.2)]
)
def test_windows_are_not_cropped_unless_asked_for(settings, changes, crop):
    """They are drawn elsewhere in each epoch, and a crop could cut off the defect."""
    assert plain_recipe(settings(**changes)).crop == crop


@pytest.mark.parametrize(("value", "given"), [("auto", False), (4, True), ("all", True)])
def test_auto_is_as_not_given(settings, value, given):
    assert is_given(settings(blocks=value), "blocks") == given
    assert not is_given(settings(), "blocks")


def test_a_kept_recipe_is_read_back(settings, tmp_path):
    recipe = replace(plain_recipe(settings()), judges_start=True, blocks=None, averaging=0.9)
    assert read_recipe(tmp_path) is None
    write_recipe(recipe, tmp_path)
    assert read_recipe(tmp_path) == recipe


def test_choices_are_logged_with_their_reason(settings, caplog):
    caplog.set_level("INFO")
    config = settings(patience=5)
    values = {"blocks": None, "patience": None, "averaging": 0.25, "resize": "pad"}
    recipe = plain_recipe(config).choose(config, "for a test", **values)
    assert (recipe.blocks, recipe.patience, recipe.averaging, recipe.resize) == (None, 5, 0.25, "pad")
    assert caplog.messages == ["recipe: blocks = all, averaging = 0.25, resize = pad; for a test"]
    assert plain_recipe(config).choose(config, "not one left", patience=1).patience == 5
    assert len(caplog.messages) == 1
