"""Compaction: the newest rows in few parts, at no moment a row less, whatever kills it."""

import multiprocessing
import os
import random
import signal
import threading
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, FolderBusyError
from pipeline.planning.plan_schema import PLAN_SCHEMA
from pipeline.results import compact as compaction
from pipeline.results.compact import compact, count_small_parts
from pipeline.results.files import ResultsFiles
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import thumbnail_name
from pipeline.results.read import part_files, read_results
from pipeline.results.schema import to_table
from tests.helpers.tables import make_record, make_row, write_run


@pytest.fixture
def out(tmp_path, source):
    """Three runs: paths out of order, one photo again, one photo that failed at first, two grids."""
    folder = tmp_path / "out"
    write_run(
        folder, source, [make_row("c.jpg"), make_row("a.jpg")], [make_row("b/x.jpg", status="failed", label=None)]
    )
    write_run(folder, source, [make_row("a.jpg", label="open", grid=(4, 4))])
    write_run(folder, source, [make_row("b/x.jpg", label="ok"), make_row("B.jpg", label="ok")])
    return folder


def assert_same_rows(found, expected):
    pd.testing.assert_frame_equal(found, expected, check_categorical=False)  # their order is nobody's


def all_rows(folder):
    return pd.concat([pd.read_parquet(part) for part in part_files(folder)], ignore_index=True)


def test_newest_rows_sorted_by_path_in_one_part(out):
    before = read_results(out)
    done = compact(out)
    assert (done.parts_before, done.parts, done.rows_before, done.rows) == (4, 1, 6, 4)
    assert all_rows(out)["path"].tolist() == ["B.jpg", "a.jpg", "b/x.jpg", "c.jpg"]
    assert_same_rows(read_results(out), before)
    assert list((out / "tmp").iterdir()) == []


def test_everyone_reads_the_compacted_table(out):
    compact(out)
    count = duckdb.sql(f"select count(*), sum(len(attention)) from '{out}/table/*.parquet'").fetchall()
    assert count == [(4, 16 + 3 * 6)]


def test_next_run_goes_on_with_the_compacted_table(out, source):
    before = read_results(out)
    compact(out)
    assert_same_rows(read_results(out), before)
    with ResultsFolder(out, source) as results:
        assert results.run_id > max(before["run_id"])


def test_a_compact_table_is_left_as_it_is(out):
    compact(out)
    (part,) = part_files(out)
    compact(out)
    assert part_files(out) == [part]


def test_large_tables_are_several_parts(out, source, monkeypatch):
    write_run(out, source, *[[make_row(f"{part}/{row:03d}.jpg") for row in range(500)] for part in range(5)])
    before = read_results(out)
    monkeypatch.setattr(compaction, "_PART_BYTES", 1)
    assert compact(out).parts == 3
    assert [pq.read_metadata(part).num_rows for part in part_files(out)] == [1000, 1000, 504]
    assert all_rows(out)["path"].is_monotonic_increasing
    assert_same_rows(read_results(out), before)


def test_large_and_current_parts_are_not_written_again(out, source, monkeypatch):
    """Of three large parts one has a replaced row: that one alone is written again, beside the merged small ones."""
    monkeypatch.setattr(compaction, "_PART_BYTES", 1)
    write_run(out, source, *[[make_row(f"{part}/{row:04d}.jpg") for row in range(1000)] for part in range(3)])
    write_run(out, source, [make_row("1/0007.jpg", label="open")])
    large = part_files(out)[-4:-1]
    before = {part: part.stat().st_ino for part in large}
    expected = read_results(out)
    done = compact(out)
    after = {part: part.stat().st_ino for part in part_files(out)}
    assert [part for part in large if after.get(part) == before[part]] == [large[0], large[2]]
    assert (done.parts_before, done.parts, done.rows) == (8, 4, 3004)
    assert sorted(pq.read_metadata(part).num_rows for part in after) == [5, 999, 1000, 1000]
    assert_same_rows(read_results(out), expected)
    assert compact(out).parts == 4
    assert {part: part.stat().st_ino for part in part_files(out)} == after, "nothing left to do"


def test_more_rows_than_fit_in_memory_come_out_sorted(out, source, monkeypatch):
    """Ten parts' worth, split into ranges of paths on the disk; one range at a time is in memory."""
    monkeypatch.setattr(compaction, "_PART_BYTES", 1)
    shuffled = random.Random(0).sample(range(10_000), 10_000)
    write_run(
        out,
        source,
        *[[make_row(f"{row % 7}/{row}.jpg") for row in shuffled[n : n + 500]] for n in range(0, 10_000, 500)],
    )
    expected = read_results(out)
    compact(out)
    assert [pq.read_metadata(part).num_rows for part in part_files(out)] == [1000] * 10 + [4]
    assert all_rows(out)["path"].is_monotonic_increasing
    assert_same_rows(read_results(out), expected)
    assert list((out / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("engine", "age", "keeps"), [("processes", 0, True), ("processes", 2, False), ("one process", 0, False)]
)
def test_names_of_young_parts_stay_taken(tmp_path, source, engine, age, keeps):
    """A worker that wakes late must not create a part again that a compaction has removed."""
    out, started = tmp_path / "out", datetime.now(UTC) - timedelta(days=age)
    run_id = f"{started:%Y%m%dT%H%M%SZ}"
    with ResultsFolder(out, source) as results:
        results.write_record(make_record(source, run_id=run_id, engine=engine))
        files = ResultsFiles(out, str(source), run_id)
        for number, rows in enumerate([[make_row("a.jpg", run_id=run_id)], [make_row("b.jpg", run_id=run_id)], []]):
            files.create_part(number, to_table(rows), {})
    compact(out)
    late = [files.create_part(number, to_table([make_row("late.jpg", run_id=run_id)]), {}) for number in range(3)]
    assert late == [not keeps] * 3
    if keeps:
        assert read_results(out)["path"].tolist() == ["a.jpg", "b.jpg"]
        assert count_small_parts(out) == 1
        compact(out)
        assert read_results(out)["path"].tolist() == ["a.jpg", "b.jpg"]


def test_parts_of_an_open_run_are_left_alone(out, source):
    with ResultsFolder(out, source) as results:
        plan = pa.Table.from_pylist([{"path": "a.jpg"}, {"path": "new.jpg"}], PLAN_SCHEMA)
        opened = results.open_run(make_record(source, engine="processes"), plan, rows=1)
    files = ResultsFiles(out, str(source), opened.run_id)
    files.create_part(0, to_table([make_row("a.jpg", run_id=opened.run_id, label="tonight")]), {})
    compact(out)
    assert opened.missing() == [1]
    assert read_results(out).set_index("path").loc["a.jpg", "label"] == "tonight"


def test_small_parts_are_counted(out, source):
    assert count_small_parts(out) == 4
    write_run(out, source, [make_row(f"{row:05d}.jpg") for row in range(1000)])
    assert count_small_parts(out) >= 4


def test_prune_drops_rows_of_photos_that_are_gone_and_overlays_without_a_row(out, source):
    (source / "b").mkdir()
    for name in ("b/x.jpg", "c.jpg"):
        (source / name).touch()
    overlays = ("overlays/a.jpg.png", "overlays/c.jpg.png", "overlays/old/z.jpg.png")
    for name in (*overlays, *map(thumbnail_name, overlays)):
        (out / name).parent.mkdir(exist_ok=True, parents=True)
        (out / name).touch()
    done = compact(out, prune=True)
    assert (done.rows, done.pruned, done.overlays_removed) == (2, 2, 2)
    assert read_results(out)["path"].tolist() == ["b/x.jpg", "c.jpg"]
    assert [str(file.relative_to(out)) for file in (out / "overlays").rglob("*")] == ["overlays/c.jpg.png"]
    assert list((out / "thumbnails").rglob("*.jpg")) == [out / thumbnail_name("overlays/c.jpg.png")]


def test_names_that_are_not_utf_8_are_not_gone(tmp_path, source):
    raw = b"caf\xe9.jpg"
    with open(os.path.join(os.fsencode(source), raw), "wb"):
        pass
    write_run(tmp_path / "out", source, [make_row(r"caf\xe9.jpg", path_bytes=raw), make_row("a.jpg")])
    assert compact(tmp_path / "out", prune=True).rows == 1
    assert read_results(tmp_path / "out")["path_bytes"].tolist() == [raw]


def test_photos_that_can_not_be_reached_are_not_gone(tmp_path, source, file_permissions_hold, caplog):
    for name in ("closed/a.jpg", "open.jpg"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).touch()
    write_run(tmp_path / "out", source, [make_row("closed/a.jpg"), make_row("open.jpg"), make_row("gone.jpg")])
    (source / "closed").chmod(0)
    with file_permissions_hold():
        assert compact(tmp_path / "out", prune=True).pruned == 1
    (source / "closed").chmod(0o755)
    assert read_results(tmp_path / "out")["path"].tolist() == ["closed/a.jpg", "open.jpg"]
    assert "closed/a.jpg: Permission denied; its row stays" in caplog.text


def test_missing_disk_prunes_nothing(out, source):
    before = read_results(out)
    with pytest.raises(ConfigError, match="is missing or empty, so nothing was pruned"):
        compact(out, prune=True)
    assert_same_rows(read_results(out), before)


def test_what_is_no_results_folder(tmp_path):
    with pytest.raises(ConfigError, match="not a results folder"):
        compact(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_a_run_holds(out, source):
    with ResultsFolder(out, source), pytest.raises(FolderBusyError):
        compact(out)


def test_kill_at_any_moment_loses_nothing(out, source):
    write_run(out, source, *[[make_row(f"{part}/{row:03d}.jpg") for row in range(20)] for part in range(20)])
    expected = read_results(out)
    context = multiprocessing.get_context("fork")
    moments = random.Random(20261124)
    kills = 0
    while kills < 25:
        process = context.Process(target=compact, args=(out,))
        process.start()
        process.join(timeout=moments.uniform(0, 0.15))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
        else:
            write_run(out, source, *[[make_row(f"{part}/000.jpg")] for part in range(5)])  # something to do again
            expected = read_results(out)
        assert_same_rows(read_results(out), expected)
    compact(out)
    assert not all_rows(out)["path"].duplicated().any()
    assert_same_rows(read_results(out), expected)


def test_reading_goes_on_while_parts_are_replaced(out, source):
    write_run(out, source, *[[make_row(f"{part}/{row:03d}.jpg") for row in range(20)] for part in range(30)])
    paths = read_results(out)["path"].tolist()
    over = threading.Event()
    seen, problems = [], []

    def read():
        while not over.is_set():
            try:
                seen.append(read_results(out, ["path"])["path"].tolist())
            except Exception as error:
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for round_ in range(10):
        write_run(out, source, *[[make_row(f"{part}/{round_:03d}.jpg")] for part in range(10)])
        compact(out)
    over.set()
    reader.join()
    assert not problems
    assert len(seen) > 10
    assert all(found == paths for found in seen)
