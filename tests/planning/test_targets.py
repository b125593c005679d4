"""Which labels the maps explain: one for all photos, or one for each by a CSV."""

import pytest

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import LabelGroup, Targets
from pipeline.planning.targets import LabelCheck, choose_targets, expect_labels
from pipeline.records import ImageRef

LABELS = ("ok", "spur", "open")


@pytest.fixture
def labels_csv(tmp_path):
    def write(text):
        file = tmp_path / "labels.csv"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def choose(tmp_path):
    """The targets by some settings, for a model that knows LABELS."""
    (tmp_path / "photos").mkdir()
    checkpoint = Checkpoint("m", tmp_path, {"id2label": dict(enumerate(LABELS))})

    def choose(**settings):
        config = RunConfig(input=tmp_path / "photos", **{"method": "legrad"} | settings)
        return expect_labels(config, checkpoint, choose_targets(config, checkpoint))

    return choose


@pytest.fixture
def check(tmp_path, choose, labels_csv):
    """The check of photos by a CSV of this content."""

    def check(text):
        file = labels_csv(text)
        config = RunConfig(input=tmp_path / "photos", method="legrad", target="expected", labels=file)
        return LabelCheck(config, choose(target="expected", labels=file).expected)

    return check


def refs_of(*paths):
    return [ImageRef(path, None, path, 1, 1) for path in paths]


def test_the_most_likely_label_is_the_default(choose):
    assert choose().label_for("a.png") is None
    assert choose(method="rollout") == Targets()


def test_one_label_against_another(choose):
    targets = choose(target="spur", versus="0")
    assert targets == Targets(LabelGroup((1,)), versus=LabelGroup((0,)))
    assert targets.label_for("a.png") is None, "all photos have the same, in the plan of the maps"


def test_a_label_by_photo(choose, labels_csv):
    targets = choose(target="expected", labels=labels_csv("path,label\nb.png,open\nc.png,ok\n"))
    assert targets.label_for("b.png") == 2


def test_photos_without_an_expected_label_are_a_problem_said_once(check, caplog):
    labels = check("path,label\nb.png,open\n")
    refs = [ImageRef(f"{name}.png", None, "", 1, 1, "is a pipe" if name == "d" else None) for name in "abcd"]
    checked = labels.check(refs[:1]) + labels.check(refs[1:])
    assert [ref.problem and ref.problem.split(":")[0] for ref in checked] == [
        "no label is expected of it",
        None,
        "no label is expected of it",
        "is a pipe",
    ]
    assert caplog.messages == []
    labels.finish()
    assert caplog.messages == ["2 of 4 photos are not in the CSV of --labels: they become failed rows"]


@pytest.mark.parametrize(
    ("listed", "found"), [("pru\u0308f.png", "pr\u00fcf.png"), ("pr\u00fcf.png", "pru\u0308f.png"), ("K", "\u212a")]
)
def test_a_label_counts_for_a_name_in_another_unicode_form(listed, found, check, caplog):
    labels = check(f"path,label\n{listed},open\n")
    (ref,) = labels.check(refs_of(found))
    labels.finish()
    assert ref.problem is None
    assert labels.expected == {listed: 2, found: 2}
    assert caplog.messages == []


def test_all_that_is_wrong_is_said_at_once(choose, labels_csv):
    with pytest.raises(ConfigError) as caught:
        choose(target="expected", versus="sput", labels=labels_csv("path,label\nb.png,oppen\n"))
    versus, labels = caught.value.problems
    assert versus == "versus = sput: is not a class of the model, which knows spur"
    assert labels.endswith("line 2 (b.png, 'oppen') is not a class of the model, which knows open")
    with pytest.raises(ConfigError, match="target = x: is not a class") as caught:
        choose(target="x", versus="y")
    assert len(caught.value.problems) == 2


def test_the_words_for_a_target_are_no_label_to_set_against_it(choose):
    with pytest.raises(ConfigError, match="versus = top1: is not a class"):
        choose(versus="top1")


def test_a_target_against_itself_is_refused(choose):
    with pytest.raises(ConfigError, match="versus = 1: is the target itself"):
        choose(target="spur", versus="1")


def test_a_csv_of_other_photos_is_refused(check):
    labels = check("path,label\nphotos/a.png,ok\n")
    labels.check(refs_of("a.png", "b.png"))
    with pytest.raises(ConfigError, match=r"names no photo of .*; paths must be relative to that folder"):
        labels.finish()


def test_a_worker_needs_no_csv(choose, labels_csv, tmp_path):
    """It gets the labels of its photos with the plan."""
    config = RunConfig(input=tmp_path / "photos", method="legrad", target="expected", labels=labels_csv("broken"))
    checkpoint = Checkpoint("m", tmp_path, {"id2label": dict(enumerate(LABELS))})
    assert choose_targets(config, checkpoint) == Targets(expected={})
    with pytest.raises(ConfigError, match=r"labels = .*needs the columns path"):
        expect_labels(config, checkpoint, Targets(expected={}))
