"""A planned run: its plan, its draft, who may still commit, and how it is closed."""

from dataclasses import replace

import pyarrow as pa
import pytest

from pipeline.errors import StoreError
from pipeline.finish import close_run
from pipeline.planning.plan_schema import PLAN_SCHEMA
from pipeline.results.files import ResultsFiles
from pipeline.results.folder import ResultsFolder
from pipeline.results.open_run import ONE_PROCESS, read_open_runs
from pipeline.results.read import read_results
from pipeline.results.run_record import newest_run_records
from pipeline.results.schema import to_table
from tests.helpers.tables import make_record, make_row


def make_plan(photos):
    rows = [{"path": f"{number:03}.png", "file_bytes": number, "mtime_ns": 1} for number in range(photos)]
    return pa.Table.from_pylist(rows, PLAN_SCHEMA)


@pytest.fixture
def open_run(out, source):
    """Opens a run of 10 photos in shards of 4, by several processes unless told otherwise."""

    def open_run(engine="processes"):
        with ResultsFolder(out, source) as results:
            return results.open_run(make_record(source, engine=engine), make_plan(10), rows=4)

    return open_run


def commit(run, source, number):
    files = ResultsFiles(run.out, str(source), run.run_id)
    return files.create_part(number, to_table([make_row(f"{number}.png", run_id=run.run_id)]), {})


def test_a_plan_is_read_shard_by_shard(out, open_run):
    run = open_run()
    assert run.shards == 3
    paths = [path for number in range(3) for path in run.read_shard(number)["path"].to_pylist()]
    assert paths == make_plan(10)["path"].to_pylist()
    assert (run.count_photos([0, 2]), run.count_photos([])) == (6, 0)
    (again,) = read_open_runs(out)
    assert (again.run_id, again.shards, again.record.engine) == (run.run_id, 3, "processes")


def test_parts_are_counted_by_their_shard(source, open_run):
    run = open_run()
    assert run.missing() == [0, 1, 2]
    commit(run, source, 1)
    assert (run.committed(), run.missing()) == ({1}, [0, 2])


def test_late_workers_of_a_closed_run_are_refused(out, source, open_run):
    run = open_run()
    assert commit(run, source, 0)
    run.seal()
    run.close()
    assert read_open_runs(out) == []
    assert not any(commit(run, source, number) for number in range(3))
    assert read_results(out)["path"].tolist() == ["0.png"]
    with pytest.raises(StoreError, match="another process has finished or closed this run"):
        run.read_shard(1)


@pytest.mark.parametrize(("engine", "seals"), [("processes", 3), (ONE_PROCESS, 0)])
def test_a_run_closed_before_its_end_is_interrupted(out, source, open_run, engine, seals):
    """With one writer, the holder of the lock, nobody can come late."""
    run = open_run(engine)
    run = replace(run, record=replace(run.record, settings={"compare_runs": 0}))
    with ResultsFolder(out, source) as results:
        close_run(results, run)
    assert read_open_runs(out) == []
    assert len(list((out / "table").iterdir())) == seals
    assert [record.summary.interrupted for record in newest_run_records(out)] == [True] * bool(seals)


def test_the_next_run_comes_after_an_open_one(out, source, open_run):
    run = open_run()
    with ResultsFolder(out, source) as results:
        assert results.run_id > run.run_id


def test_what_workers_write_is_not_swept_while_their_run_is_open(out, source, open_run):
    run = open_run()
    leftover = out / "tmp" / ("0" * 32)
    leftover.touch()
    with ResultsFolder(out, source):
        assert leftover.exists()
    run.close()
    with ResultsFolder(out, source):
        assert not leftover.exists()


def test_a_draft_that_is_none_is_named(out, open_run):
    run = open_run()
    draft = out / "runs" / f"{run.run_id}.open"
    draft.write_text("{}")
    with pytest.raises(StoreError, match="is no draft of a run; remove it"):
        read_open_runs(out)


def test_a_record_in_place_stays(out, source, open_run):
    run = open_run()
    with ResultsFolder(out, source) as results:
        for seconds in (1.0, 2.0):
            results.write_record(replace(run.record, summary=replace(run.record.summary, seconds=seconds)))
    assert '"seconds": 1.0' in (out / "runs" / f"{run.run_id}.json").read_text()
