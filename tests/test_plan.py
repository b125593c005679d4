"""The work left to do: verdicts on a file's bytes stand, faults of the machine don't."""

import os
from dataclasses import replace

import pytest

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import Targets
from pipeline.photos.loader import hash_file
from pipeline.plan import choose_targets, expect_labels, make_plan
from pipeline.records import ImageRef
from pipeline.results.read import DoneFile

OK = DoneFile(10, 5, "00", failed=False, fingerprint="f", run_id="r")
BROKEN = replace(OK, failed=True, error="truncated")
UNREACHED = replace(OK, failed=True, error="can't be read: Input/output error", content_hash=None)


def ref_of(path, **changes):
    return replace(ImageRef(path, None, f"/nowhere/{path}", 10, 5), **changes)


def plan_of(refs, done, **options):
    return make_plan(refs, done, lambda path: "f", **options)


@pytest.mark.parametrize(("row", "is_done"), [(OK, True), (BROKEN, True), (UNREACHED, False)])
def test_only_a_verdict_on_the_bytes_is_done(row, is_done):
    plan = plan_of([ref_of("a.tif")], {"a.tif": row})
    assert (plan.done, len(plan.pending)) == (is_done, not is_done)


@pytest.mark.parametrize("problem", ["not a regular file", "no label is expected of it"])
def test_a_known_problem_needs_no_new_attempt_while_it_is_the_same(problem):
    row = replace(UNREACHED, error=problem)
    assert plan_of([ref_of("pipe.gif", problem=problem)], {"pipe.gif": row}).pending == []
    assert len(plan_of([ref_of("pipe.gif", problem="Permission denied")], {"pipe.gif": row}).pending) == 1
    assert len(plan_of([ref_of("pipe.gif")], {"pipe.gif": row}).pending) == 1
    assert len(plan_of([ref_of("pipe.gif", problem=problem)], {"pipe.gif": row}, retry_failed=True).pending) == 1


def test_a_pipe_touched_since_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    ref = ref_of("pipe.png", file=str(tmp_path / "pipe.png"), mtime_ns=99, problem="not a regular file")
    assert plan_of([ref], {"pipe.png": replace(UNREACHED, error="not a regular file")}).pending == [ref]


def test_counts(tmp_path):
    touched, edited = (tmp_path / name for name in ("touched.png", "edited.png"))
    for file in (touched, edited):
        file.write_bytes(b"0123456789")
    refs = [
        ref_of("broken.png"),
        ref_of("edited.png", file=str(edited), mtime_ns=6),
        ref_of("grown.png", file_bytes=11),
        ref_of("new.png"),
        ref_of("same.png"),
        ref_of("touched.png", file=str(touched), mtime_ns=6),
        ref_of("unreached.png"),
    ]
    done = {"broken.png": BROKEN, "grown.png": BROKEN, "same.png": OK, "unreached.png": UNREACHED, "edited.png": OK}
    done["touched.png"] = replace(OK, content_hash=hash_file(refs[5]))
    plan = plan_of(refs, done)
    assert [ref.path for ref in plan.pending] == ["edited.png", "grown.png", "new.png", "unreached.png"]
    assert [ref.path for ref in plan.touched] == ["touched.png"]
    assert (plan.new, plan.changed, plan.done) == (1, 2, 2)
    assert plan.failed_before == {"broken.png", "grown.png", "unreached.png"}
    assert [plan.count_standing(processed) for processed in (0, 2, 4)] == [3, 2, 1]


@pytest.mark.parametrize(("row", "wanted"), [("f", "f-1"), ("f-1", "f-2"), ("f-1", "f")])
def test_another_decision_alone_is_no_reason_to_process_a_photo(row, wanted, tmp_path):
    touched = tmp_path / "touched.png"
    touched.write_bytes(b"0123456789")
    refs = [ref_of("failed.png"), ref_of("same.png"), ref_of("touched.png", file=str(touched), mtime_ns=6)]
    refs.append(ref_of("unreached.png"))
    rows = {"same.png": OK, "failed.png": BROKEN, "unreached.png": UNREACHED}
    rows["touched.png"] = replace(OK, content_hash=hash_file(refs[2]))
    done = {path: replace(old, fingerprint=row) for path, old in rows.items()}
    plan = make_plan(refs, done, lambda path: wanted)
    assert [ref.path for ref in plan.pending] == ["unreached.png"]
    assert [ref.path for ref in plan.touched] == ["failed.png", "same.png", "touched.png"]
    assert (plan.rejudged, plan.done) == (3, 0)
    assert "3 the same (3 under another decision)" in plan.describe()
    other_model = make_plan(refs, done, lambda path: "g-1")
    assert (len(other_model.pending), other_model.rejudged) == (4, 0)


# Which labels the maps explain

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
    """`choose_targets` with settings, for a model that knows LABELS and two photos."""
    (tmp_path / "photos").mkdir()
    checkpoint = Checkpoint("m", tmp_path, {"id2label": dict(enumerate(LABELS))})
    refs = [ImageRef(path, None, path, 1, 1) for path in ("a.png", "b.png")]

    def choose(**settings):
        config = RunConfig(input=tmp_path / "photos", **{"method": "legrad"} | settings)
        return expect_labels(config, checkpoint, choose_targets(config, checkpoint), refs)

    return choose


def test_the_most_likely_label_is_the_default(choose):
    assert choose().label_for("a.png") is None
    assert choose(method="rollout") == Targets()


def test_one_label_against_another(choose):
    targets = choose(target="spur", versus="0")
    assert (targets.label_for("a.png"), targets.label_for("b.png"), targets.versus) == (1, 1, 0)


def test_a_label_by_photo(choose, labels_csv):
    targets = choose(target="expected", labels=labels_csv("path,label\nb.png,open\nc.png,ok\n"))
    assert targets.label_for("b.png") == 2


def test_photos_without_an_expected_label_are_a_problem_said_once(choose, labels_csv, caplog):
    targets = choose(target="expected", labels=labels_csv("path,label\nb.png,open\n"))
    refs = [ImageRef(f"{name}.png", None, "", 1, 1, "is a pipe" if name == "d" else None) for name in "abcd"]
    checked = targets.check(refs)
    assert [ref.problem and ref.problem.split(":")[0] for ref in checked] == [
        "no label is expected of it",
        None,
        "no label is expected of it",
        "is a pipe",
    ]
    assert caplog.messages == ["2 of 4 photos are not in the CSV of --labels: they become failed rows"]
    assert Targets().check(refs) == refs


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


def test_a_csv_of_other_photos_is_refused(choose, labels_csv):
    with pytest.raises(ConfigError, match=r"names no photo of .*; paths must be relative to that folder"):
        choose(target="expected", labels=labels_csv("path,label\nphotos/a.png,ok\n"))
