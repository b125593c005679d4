"""The work left to do: verdicts on a file's bytes stand, faults of the machine don't."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.photos.content import hash_file
from pipeline.photos.discover import FolderSource
from pipeline.photos.sample import choose_sample
from pipeline.planning.make_plan import make_plan
from pipeline.planning.plan import PlanSettings
from pipeline.planning.plan_schema import PLAN_SCHEMA, refs_of_plan
from pipeline.records import ImageRef
from pipeline.results.compact import compact
from pipeline.results.parts import read_part
from tests.helpers.tables import make_row, write_run

OK = make_row("", file_bytes=10, mtime=5, content_hash="00", fingerprint="f")
BROKEN = replace(OK, status="failed", error="truncated")
UNREACHED = replace(BROKEN, error="can't be read: Input/output error", content_hash=None)


class ListSource:
    """Photos out of a list, some at a time; those of the table that it lacks are gone."""

    name, unreadable, left_out = "list", {}, {}

    def __init__(self, refs, chunk):
        self.refs, self.chunk = refs, chunk

    def chunks(self):
        for start in range(0, len(self.refs), self.chunk):
            yield self.refs[start : start + self.chunk]

    def is_gone(self, paths, raws):
        assert len(paths) == len(raws)
        assert not set(paths) & {ref.path for ref in self.refs}, "photos found are not looked for"
        return [path.startswith("gone") for path in paths]


def ref_of(path, **changes):
    return replace(ImageRef(path, None, f"/nowhere/{path}", 10, 5), **changes)


@pytest.fixture
def plan_of(tmp_path):
    """The plan for some photos and rows by path, in parts of two rows and chunks of three photos."""

    def plan_of(refs, done, *, fingerprint_of=lambda path: "f", source="/nowhere", chunk=3, **settings):
        out = tmp_path / "out"
        rows = [replace(row, path=path) for path, row in done.items()]
        write_run(out, tmp_path, *(rows[start : start + 2] for start in range(0, len(rows), 2)))
        return make_plan(ListSource(refs, chunk), out, fingerprint_of, PlanSettings(source, **settings))

    return plan_of


def pending_of(plan):
    return plan.pending["path"].to_pylist()


def touched_of(plan):
    """The paths of rows to be rewritten, with their new mtimes."""
    return {
        path: mtime
        for part in plan.touched.parts
        for path, mtime in zip(read_part(part.part)["path"].take(part.rows).to_pylist(), part.mtimes, strict=True)
    }


@pytest.mark.parametrize(("row", "is_done"), [(OK, True), (BROKEN, True), (UNREACHED, False)])
def test_only_a_verdict_on_the_bytes_is_done(row, is_done, plan_of):
    plan = plan_of([ref_of("a.tif")], {"a.tif": row})
    assert (plan.done, len(plan.pending)) == (is_done, not is_done)


@pytest.mark.parametrize("problem", ["not a regular file", "no label is expected of it"])
def test_a_known_problem_needs_no_new_attempt_while_it_is_the_same(problem, plan_of):
    rows = {"pipe.gif": replace(UNREACHED, error=problem)}
    assert pending_of(plan_of([ref_of("pipe.gif", problem=problem)], rows)) == []
    assert len(plan_of([ref_of("pipe.gif", problem="Permission denied")], rows).pending) == 1
    assert len(plan_of([ref_of("pipe.gif")], rows).pending) == 1
    assert len(plan_of([ref_of("pipe.gif", problem=problem)], rows, retry_failed=True).pending) == 1


def test_a_pipe_touched_since_is_not_opened(tmp_path, plan_of):
    os.mkfifo(tmp_path / "pipe.png")
    ref = ref_of("pipe.png", file=str(tmp_path / "pipe.png"), mtime_ns=99, problem="not a regular file")
    plan = plan_of([ref], {"pipe.png": replace(UNREACHED, error="not a regular file")}, source=tmp_path)
    assert refs_of_plan(plan.pending, tmp_path) == [ref]


def test_counts(tmp_path, plan_of):
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
    done |= {"gone.png": OK, "left out.png": OK}
    plan = plan_of(refs, done)
    assert plan.pending.schema == PLAN_SCHEMA
    assert refs_of_plan(plan.pending, "/nowhere") == [refs[1], refs[2], refs[3], refs[6]]
    assert touched_of(plan) == {"touched.png": 6}
    assert (plan.found, plan.new, plan.changed, plan.done, plan.same, plan.gone) == (7, 1, 2, 2, 3, 1)
    assert plan.failed_before == 3
    assert plan.pending["failed_before"].to_pylist() == [False, True, False, True]
    assert plan.describe() == "1 new, 2 changed, 3 the same, 1 gone; 3 failed before; 4 to process"


@pytest.mark.parametrize(("row", "wanted"), [("f", "f-1"), ("f-1", "f-2"), ("f-1", "f")])
def test_another_decision_alone_is_no_reason_to_process_a_photo(row, wanted, tmp_path, plan_of):
    touched = tmp_path / "touched.png"
    touched.write_bytes(b"0123456789")
    refs = [ref_of("failed.png"), ref_of("same.png"), ref_of("touched.png", file=str(touched), mtime_ns=6)]
    refs.append(ref_of("unreached.png"))
    rows = {"same.png": OK, "failed.png": BROKEN, "unreached.png": UNREACHED}
    rows["touched.png"] = replace(OK, content_hash=hash_file(refs[2]))
    done = {path: replace(old, fingerprint=row) for path, old in rows.items()}
    plan = plan_of(refs, done, fingerprint_of=lambda path: wanted)
    assert pending_of(plan) == ["unreached.png"]
    assert touched_of(plan) == {"failed.png": 5, "same.png": 5, "touched.png": 6}
    assert (plan.rejudged, plan.done) == (3, 0)
    assert "3 the same (3 under another decision)" in plan.describe()
    other_model = plan_of(refs, done, fingerprint_of=lambda path: "g-1")
    assert (len(other_model.pending), other_model.rejudged) == (4, 0)


def test_photos_have_fingerprints_of_their_own(plan_of):
    refs = [ref_of(f"{number}.png") for number in range(8)]
    done = {ref.path: replace(OK, fingerprint=f"f{number % 3}") for number, ref in enumerate(refs)}
    plan = plan_of(refs, done, fingerprint_of=lambda path: f"f{int(path[0]) % 2}")
    assert pending_of(plan) == ["2.png", "3.png", "4.png", "5.png"]


def test_photos_in_any_order_are_sorted_by_path(plan_of):
    refs = [ref_of(path) for path in ("b", "a", "ü", "a/1", "Z", "a-1", "é")]
    assert pending_of(plan_of(refs, {}, chunk=2)) == sorted(ref.path for ref in refs)


def test_photos_of_a_list_keep_their_places(plan_of):
    refs = [ref_of("a.png", file="s3://bucket/a.png", version="1"), ref_of("b.png")]
    refs.append(ref_of(r"\xff.png", path_bytes=b"\xff.png", file=os.fsdecode(b"/here/\xff.png")))
    plan = plan_of(refs, {}, source=Path("/here"))
    assert plan.pending["location"].to_pylist() == [None, "s3://bucket/a.png", "/nowhere/b.png"]
    assert refs_of_plan(plan.pending, Path("/here")) == [refs[2], refs[0], refs[1]]


def test_limit_takes_the_first_photos(plan_of):
    refs = [ref_of(f"{number}.png") for number in range(8)]
    plan = plan_of(refs, {"0.png": OK}, limit=3)
    assert pending_of(plan) == ["1.png", "2.png", "3.png"]
    assert (plan.new, plan.done, plan.found) == (7, 1, 8)


def test_a_sample_is_of_all_photos(plan_of):
    refs = [ref_of(f"{folder}/{number}.png") for folder in "abc" for number in range(20)]
    done = {ref.path: OK for ref in refs[::2]}
    plan = plan_of(refs, done, sample=12)
    sample = choose_sample(refs, 12)
    assert pending_of(plan) == sorted(sample - set(done))
    assert 0 < len(sample & set(done)) < 12
    assert plan.new == 30


def test_a_sample_of_overlays_is_of_the_photos_to_process(plan_of):
    refs = [ref_of(f"{folder}/{number:02}.png") for folder in "abc" for number in range(20)]
    done = {ref.path: OK for ref in refs[::2]}
    plan = plan_of(refs, done, sampled_overlays=6, limit=25)
    sampled = plan.pending.filter(plan.pending["sampled"])["path"].to_pylist()
    assert len(sampled) == 6
    assert {path[0] for path in sampled} == {"a", "b", "c"}
    assert sampled == sorted(choose_sample(refs_of_plan(plan.pending, "/nowhere"), 6))


def test_clashing_names_are_those_of_all_photos(plan_of):
    refs = [ref_of(path) for path in ("A.png", "a.PNG", "b.png", "c.png", "B.png", "d.png")]
    done = {"C.png": OK, "c.png": replace(OK, file_bytes=3), "B.png": OK, "d.png": BROKEN}
    plan = plan_of(refs, done, retry_failed=True)
    clashes = plan.pending.filter(plan.pending["clashes"])["path"].to_pylist()
    assert pending_of(plan) == ["A.png", "a.PNG", "b.png", "c.png", "d.png"]
    assert clashes == ["A.png", "a.PNG", "b.png", "c.png"]
    unseen = plan_of(refs, done, retry_failed=True, draws_overlays=False)
    assert unseen.pending["clashes"].to_pylist() == [False] * 5


def test_a_preview_starts_over_if_a_part_was_compacted_meanwhile(tmp_path):
    """The suspect's row is looked up after the walk: by then its part is gone."""
    source, out = tmp_path / "photos", tmp_path / "out"
    source.mkdir()
    (source / "a.png").write_bytes(b"0123456789")
    write_run(out, source, [replace(OK, path="b.png")], [replace(OK, path="a.png")])

    class CompactedSource(FolderSource):
        def chunks(self):
            yield from super().chunks()
            compact(out)

    plan = make_plan(CompactedSource(source), out, lambda path: "f", PlanSettings(source))
    assert (plan.found, plan.changed, plan.gone, pending_of(plan)) == (1, 1, 1, ["a.png"])


@pytest.mark.parametrize("seed", range(8))
def test_decisions_about_many_photos_are_those_about_one(seed, tmp_path, plan_of):
    """Whatever the photos before and after it."""
    draw = np.random.default_rng(seed)
    rows = [OK, BROKEN, UNREACHED, replace(OK, fingerprint="f-1"), replace(OK, fingerprint="g"), None]
    refs, done = [], {}
    for number in range(40):
        refs.append(ref_of(f"{number:02}.png", mtime_ns=int(draw.integers(5, 7)), file_bytes=int(draw.integers(9, 11))))
        if row := rows[draw.integers(len(rows))]:
            done[refs[-1].path] = row
    whole = plan_of(refs, done)
    alone = [plan_of_one(ref, done, tmp_path) for ref in refs]
    for name in ("found", "new", "changed", "done", "same", "failed_before", "rejudged"):
        assert getattr(whole, name) == sum(getattr(plan, name) for plan in alone), name
    assert pending_of(whole) == [path for plan in alone for path in pending_of(plan)]
    assert touched_of(whole) == {path: mtime for plan in alone for path, mtime in touched_of(plan).items()}


def plan_of_one(ref, done, tmp_path):
    return make_plan(ListSource([ref], 1), tmp_path / "out", lambda path: "f", PlanSettings("/nowhere"))
