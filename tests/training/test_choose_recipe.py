"""Each choice of the automatic recipe, its reason in the log, and settings given by the user."""

import math
from collections import Counter

import pytest

from pipeline.errors import ConfigError
from pipeline.model.architecture import encoder_layers
from pipeline.training.backbone import build_classifier
from pipeline.training.choose_recipe import (
    MOST_EPOCHS,
    Budget,
    InputFacts,
    TrainingFacts,
    check_goal,
    choose_goal,
    choose_input_size,
    choose_resize,
    choose_training,
    count_probed_photos,
)
from pipeline.training.recipe import plain_recipe
from tests.training.marked_photos import CLASSES


@pytest.fixture
def choose(settings, caplog):
    """A function to call a choice with a config that has these settings, and nothing else, given."""
    caplog.set_level("INFO")

    def call(function, *arguments, given=None):
        config = settings(
            recipe="auto", **{"input_size": "auto", "epochs": "auto", "learning_rate": "auto"} | (given or {})
        )
        return function(config, plain_recipe(config), *arguments)

    return call


@pytest.mark.parametrize(
    ("sizes", "resize", "reason"),
    [
        ([(640, 480)] * 20, "stretch", "photos are 1.33 times as long as wide"),
        ([(480, 640)] * 20, "stretch", "photos are 1.33 times as long as wide"),
        (
            [(1000, 500)] * 20,
            "pad",
            "photos are 2.0 times as long as wide, and a stretch would bend what the model sees",
        ),
        ([(500, 500)] * 15 + [(500, 950)] * 5, "pad", "shapes differ, and a stretch would bend what the model sees"),
        ([(500, 500)] * 99 + [(3000, 1)], "stretch", "photos are 1.00 times as long as wide"),
    ],
)
def test_resize_by_the_shapes(choose, caplog, sizes, resize, reason):
    assert choose(choose_resize, sizes).resize == resize
    assert f"recipe: resize = {resize}; {reason}" in caplog.text
    caplog.clear()
    for other in ("pad", "stretch"):
        assert choose(choose_resize, sizes, given={"resize": other}).resize == other
    assert not caplog.text


@pytest.mark.parametrize(
    ("side", "left", "expected"),
    [
        (100, math.inf, 224),  # the base size, also for smaller photos: the backbone knows it
        (270, math.inf, 280),
        (4000, math.inf, 280),
        (4000, 0, 224),
    ],
)
def test_input_size_by_detail_and_time(choose, caplog, side, left, expected):
    def choose_size(**given):
        facts = InputFacts([side], patch=14, photos=100, forward=0.01, left=left)
        return choose(choose_input_size, facts, given=given).input_size

    chosen = choose_size()
    assert chosen == expected
    assert f"recipe: input_size = {chosen}; photos of {side} pixels, and time for " in caplog.text
    assert choose_size(input_size=32) == 32


def test_input_size_grows_with_the_time(choose):
    several = [InputFacts([4000], patch=14, photos=100, forward=0.01, left=left) for left in (0, 15, 30, 45, 1000)]
    sizes = [choose(choose_input_size, facts).input_size for facts in several]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (224, 280)


@pytest.mark.parametrize(
    ("counts", "weights", "best_by"),
    [
        ({"ok": 50, "scratch": 40}, "none", "defect_recall"),
        ({"ok": 500, "scratch": 40}, "sqrt", "defect_recall"),
        ({"left": 50, "right": 50}, "none", "loss"),
        ({"ok": 50, "good": 50}, "none", "loss"),  # without a defect there is no recall of defects
        ({"ok": 50, "scratch": 40, "dent": 4}, "sqrt", "loss"),
    ],
)
def test_goal_by_the_classes(choose, caplog, counts, weights, best_by):
    splits = {"train": Counter(counts), "validation": Counter(dict.fromkeys(counts, 5))}
    recipe = choose(choose_goal, list(counts), splits)
    assert (recipe.class_weights, recipe.best_by) == (weights, best_by)
    assert caplog.text.count("recipe: ") == 2
    given = {"class_weights": "balanced", "best_by": "accuracy"}
    recipe = choose(choose_goal, list(counts), splits, given=given)
    assert (recipe.class_weights, recipe.best_by) == ("balanced", "accuracy")


def test_a_validation_without_good_photos_is_judged_by_the_loss(choose):
    splits = {"train": Counter(ok=9, scratch=9), "validation": Counter(scratch=3)}
    assert choose(choose_goal, ["ok", "scratch"], splits).best_by == "loss"


def test_defect_recall_needs_a_good_class(settings):
    for labels in (["left", "right"], ["ok", "good"]):
        with pytest.raises(ConfigError, match="best_by = defect_recall: needs a class of good photos"):
            check_goal(settings(best_by="defect_recall"), labels)
    check_goal(settings(best_by="defect_recall"), ["ok", "left", "right"])
    check_goal(settings(), ["left", "right"])


@pytest.fixture
def choose_course(choose, tiny_checkpoint):
    def call(left, photos=100, blocks=None, explained=1.0, measured=0, **given):
        model = build_classifier(tiny_checkpoint("vit"), CLASSES, input_size=32, blocks=blocks, seed=0).model
        facts = TrainingFacts(explained, photos, held_out=10, measured=measured, left=left)
        return choose(choose_training, model, facts, given={"input_size": 32} | given), model

    return call


def test_training_without_a_limit(choose_course, caplog):
    recipe, model = choose_course(math.inf)
    assert (recipe.epochs, recipe.train_blocks, recipe.learning_rate) == (MOST_EPOCHS, 1, 1e-4)
    assert 0.8 < recipe.averaging < 1
    assert "s, and time has no limit" in caplog.text
    trained = [any(weights.requires_grad for weights in block.parameters()) for block in encoder_layers(model)]
    assert trained == [False, False, True]
    assert all(weights.grad is None for weights in model.parameters())  # of the measured steps


def test_all_blocks_are_trained_where_frozen_features_explain_little(choose_course, caplog):
    recipe, model = choose_course(math.inf, explained=0.1)
    assert recipe.train_blocks is None
    assert "train_blocks = all; frozen features explain 10% of the labels" in caplog.text
    assert all(weights.requires_grad for weights in model.parameters())


def test_without_time_nothing_is_trained(choose_course, caplog):
    recipe, _ = choose_course(0.0)
    assert recipe.epochs == 0
    assert "recipe: epochs = 0; an epoch takes " in caplog.text
    assert "and 0 s are left" in caplog.text


def test_epochs_fit_in_the_time(choose_course):
    """An epoch of a million photos takes minutes, by any machine's measured step."""
    assert choose_course(1.0, photos=1_000_000)[0].epochs == 0
    assert choose_course(3600.0 * 24, photos=1_000_000)[0].epochs > 0
    assert choose_course(3600.0, measured=1_000_000_000)[0].epochs == 0  # the measurement at the end needs it all


def test_given_settings_of_the_training_stay(choose_course):
    given = {"epochs": 7, "train_blocks": "all", "learning_rate": 3e-3, "averaging": 0.5, "patience": 2}
    recipe, _ = choose_course(0.0, **given)
    assert (recipe.epochs, recipe.train_blocks, recipe.learning_rate) == (7, None, 3e-3)
    assert (recipe.averaging, recipe.patience) == (0.5, 2)
    assert [choose_course(0.0, epochs=epochs)[0].patience for epochs in (2, 30)] == [5, 15]  # of the epochs given


@pytest.mark.parametrize(
    ("forward", "left", "expected"),
    [(0.1, math.inf, 4000), (0.001, 1800, 4000), (0.05, 600, 720), (0.05, 60, 300), (0.05, 0, 300)],
)
def test_the_probe_leaves_time_for_the_training(caplog, forward, left, expected):
    """Five passes take at most three tenths of the time left; fewer than 300 photos of a split tell too little."""
    caplog.set_level("INFO")
    assert count_probed_photos(2000, forward, left) == expected
    assert ("a linear probe of up to" in caplog.text) == (expected < 2000)
    caplog.clear()
    assert count_probed_photos(250, forward, left) == expected
    assert not caplog.text


def test_budget_counts_down_to_zero():
    seconds = iter([100.0, 130.0, 170.0])
    budget = Budget(1.0, lambda: next(seconds))
    assert (budget.seconds, budget.left(), budget.left()) == (60, 30, 0)
    assert Budget(None).left() == math.inf
