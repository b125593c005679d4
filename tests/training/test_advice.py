"""Three sentences after a training: each remedy where it fits."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.training.advice import advise, is_of_little_use
from pipeline.training.choose_recipe import MOST_EPOCHS
from pipeline.training.findings import Findings
from pipeline.training.leaks import Leak
from pipeline.training.recipe import plain_recipe
from pipeline.training.validation import Metrics

GOOD = Metrics(0.95, 0.9, 0.2, (0.95, 0.85, None), defect_recall=0.9, false_alarms=0.07)


@pytest.fixture
def prepare(settings):
    """A function for a prepared training: 30 photos of ok, 10 or more of crack, none of hole."""

    def make(findings=None, cracks=10, **changes):
        recipe = replace(plain_recipe(settings(epochs=9)), judges_start=True, **changes)
        photos = [SimpleNamespace(label=label) for label in ["ok"] * 30 + ["crack"] * cracks]
        return SimpleNamespace(
            recipe=recipe,
            data=SimpleNamespace(labels=("ok", "crack", "hole")),
            splits={"train": SimpleNamespace(photos=photos)},
            findings=findings or Findings(),
        )

    return make


def judge(*losses):
    return [Metrics(0.5, 0.5, loss) for loss in losses]


def test_the_worst_class_and_the_price_of_recall(prepare):
    measured = {"validation": replace(GOOD, f1=(0.1, 0.9, None)), "test": GOOD}
    weakness, _, labels = advise(prepare(), measured, judge(0.5, 0.4), 30)
    assert weakness == (
        "crack is recognised worst (F1 0.85 on test), learnt from 10 photos: more photos of it help most; "
        "finding 99% of the defects costs 7% false alarms among good photos."
    )
    assert labels == "No label of a training photo is clearly contradicted."


def test_strangers_come_before_more_time(prepare):
    findings = Findings(strangers=("29% of the validation photos are unlike all training photos",))
    sentence = advise(prepare(findings), {"validation": GOOD}, judge(0.5, 0.4), 30)[1]
    assert sentence == "29% of the validation photos are unlike all training photos."


def test_more_photos_of_the_largest_class_are_not_asked_for(prepare):
    measured = {"validation": Metrics(0.5, 0.5, 0.2, (0.2, 0.85, None))}
    assert advise(prepare(), measured, judge(0.5), 30)[0] == (
        "ok is recognised worst (F1 0.20 on validation), learnt from 30 photos."
    )
    measured = {"validation": Metrics(0.5, 0.5, 0.2, (0.9, 0.3, None))}
    assert "learnt from 1 photo: more" in advise(prepare(cracks=1), measured, judge(0.5), 30)[0]


@pytest.mark.parametrize(
    ("losses", "changes", "minutes", "expected"),
    [
        (
            [0.5, 0.6, 0.7],
            {},
            30,
            "Fine-tuning did not beat the linear probe or head it started from: more photos help",
        ),
        ([0.5, 0.4, 0.3], {}, 30, "The last epoch was the best one, so more of them may help: --minutes 60."),
        ([0.5, 0.4, 0.3], {}, None, "The last epoch was the best one, so more of them may help: --epochs 18."),
        ([0.5, 0.3], {"epochs": MOST_EPOCHS}, 30, f"more of them may help: --epochs {2 * MOST_EPOCHS}."),
        ([0.5, 0.3, 0.4], {}, 30, "More photos help most, above all of what the model gets wrong: vitrollout review"),
        ([0.5, 0.3, 0.3], {}, 30, "More photos help most, above all of what the model gets wrong: vitrollout review"),
        ([0.5], {"epochs": 0}, 0.02, "The time was enough for the starting point alone; try --minutes 1, or a smaller"),
        ([0.5], {"epochs": 0}, 3, "The time was enough for the starting point alone; try --minutes 6, or a smaller"),
    ],
)
def test_next_step(prepare, losses, changes, minutes, expected):
    _, following, _ = advise(prepare(best_by="loss", **changes), {"test": GOOD}, judge(*losses), minutes)
    assert expected in following


def test_without_a_judged_start_the_first_epoch_may_be_best(prepare):
    ready = prepare(best_by="loss")
    ready.recipe = replace(ready.recipe, judges_start=False)
    assert advise(ready, {"test": GOOD}, judge(0.3, 0.4), 30)[1].startswith("More photos help most")


def test_a_leak_comes_before_all_else(prepare):
    leak = Leak({"test": 0.96}, "(.+)_", 40, (("a.png", "b.png"),))
    _, following, _ = advise(prepare(Findings(leak)), {"test": GOOD}, judge(0.5, 0.6), 30)
    assert following == (
        "96% of the test photos have a near-duplicate in training; these figures are too good (a.png ~ b.png); "
        "train with --group '(.+)_': 40 families by their names."
    )
    usual = Findings(Leak({"test": 0.05}))
    assert advise(prepare(usual, best_by="loss"), {"test": GOOD}, judge(0.5, 0.4), 30)[1].startswith("The last epoch")


def test_the_most_doubtful_labels_are_listed_twins_first(prepare):
    findings = Findings(None, tuple(f"{index}.png: labelled ok" for index in range(9)), ("a.png (ok) looks the same",))
    _, _, labels = advise(prepare(findings), {"test": GOOD}, judge(0.5), 30)
    assert labels.startswith("Labels to look at again: a.png (ok) looks the same; 0.png: labelled ok; ")
    assert labels.count(";") == 4


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, False), ({"macro_f1": 0.6}, True), ({"false_alarms": 0.3}, True), ({"false_alarms": float("nan")}, False)],
)
def test_figures_too_bad_for_an_inspection(changes, expected):
    assert is_of_little_use(replace(GOOD, **changes)) == expected
