"""The results folder: commit, resume, reading back by everybody's tools."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, FolderBusyError, StoreError
from pipeline.results.folder import ResultsFolder
from pipeline.results.read import read_results
from pipeline.results.schema import to_table
from tests.helpers.tables import make_record, make_row, write_run


def test_newest_row_of_a_path_wins_by_run_not_by_clock(out, source):
    write_run(out, source, [make_row("a.jpg", label="short", processed_at=2_000_000_000_000_000)])
    write_run(out, source, [make_row("a.jpg", label="open", processed_at=1), make_row("b.jpg")])
    frame = read_results(out)
    assert frame["path"].tolist() == ["a.jpg", "b.jpg"]
    assert frame["label"].astype(str).tolist() == ["open", "short"]


def test_run_ids_grow_even_when_the_clock_jumps_back(out, source, monkeypatch):
    first = write_run(out, source, [make_row("a.jpg")])
    later = out / "runs" / "29991231T235959Z.json"
    later.write_text(json.dumps({"input": str(source)}))
    second = write_run(out, source, [make_row("a.jpg")])
    assert first < later.stem < second == "30000101T000000Z"


def test_read_results_selects_columns(out, source):
    write_run(out, source, [make_row("a.jpg"), make_row("b.jpg")])
    frame = read_results(out, columns=["score", "path"])
    assert list(frame.columns) == ["score", "path"]
    assert read_results(out, columns=["score"])["score"].tolist() == [0.75, 0.75]
    with pytest.raises(ConfigError, match="no such column: scores"):
        read_results(out, columns=["scores"])


def test_read_results_names_what_is_no_results_folder(tmp_path):
    with pytest.raises(ConfigError, match="not a results folder"):
        read_results(tmp_path)


def test_parts_of_an_older_schema_open_with_newer_ones(out, source):
    write_run(out, source, [make_row("a.jpg")])
    (part,) = (out / "table").iterdir()
    pq.write_table(pq.read_table(part).drop_columns(["overlay", "versus"]), part)
    write_run(out, source, [make_row("b.jpg")])
    frame = read_results(out)
    assert frame["overlay"].isna().tolist() == [True, False]


def test_damaged_part_is_named(out, source):
    write_run(out, source, [make_row("a.jpg")])
    (part,) = (out / "table").iterdir()
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StoreError, match=part.name):
        read_results(out)


def test_damaged_part_of_a_run_that_left_no_record_is_named(out, source):
    run_id = write_run(out, source, [make_row("a.jpg")])
    (out / "table" / f"part-{run_id}-00000.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=f"part-{run_id}-00000.parquet can't be read"), ResultsFolder(out, source):
        pass


def test_what_others_keep_in_the_folder_is_no_harm(out, source, tmp_path):
    write_run(out, source, [make_row("a.jpg")])
    (out / "table" / "part-backup.parquet").write_bytes(b"PAR1")
    (out / "runs" / "notes.json").write_text("[]")
    (out / "runs" / "20990101T000000Z.json").write_text("[]")
    (tmp_path / "elsewhere").mkdir()
    (out / "tmp" / "link").symlink_to(tmp_path / "elsewhere")
    run_id = write_run(out, source, [make_row("b.jpg")])
    assert run_id == "20990101T000001Z"
    assert list((out / "tmp").iterdir()) == [out / "tmp" / "link"]
    assert (tmp_path / "elsewhere").is_dir()


def test_second_run_is_refused_while_the_first_holds_the_folder(out, source):
    with ResultsFolder(out, source):
        with pytest.raises(FolderBusyError, match="held by another run") as refusal:
            ResultsFolder(out, source).__enter__()
        assert refusal.value.exit_code == 75
    with ResultsFolder(out, source):
        pass


def test_folder_belongs_to_one_input(out, source, tmp_path):
    write_run(out, source, [make_row("a.jpg")])  # no run record: as after a kill
    other = tmp_path / "other"
    with pytest.raises(ConfigError) as refusal:
        ResultsFolder(out, other).__enter__()
    assert str(source) in str(refusal.value)
    assert str(other) in str(refusal.value)
    write_run(out, other, [make_row("b.jpg")], rebind=True)
    with pytest.raises(ConfigError, match="--rebind"):
        ResultsFolder(out, source).__enter__()


def test_leftovers_in_tmp_are_swept_and_nothing_else(out, source):
    (out / "tmp" / "thesis").mkdir(parents=True)
    for name in ("0123456789abcdef" * 2, "part-20260101T000000Z-00003.parquet", "thesis/chapter.txt", "part-1.txt"):
        (out / "tmp" / name).write_bytes(b"PAR1")
    with ResultsFolder(out, source):
        assert {file.name for file in (out / "tmp").rglob("*")} == {"thesis", "chapter.txt", "part-1.txt"}


def test_full_disk_says_so_and_leaves_nothing_half_written(out, source, monkeypatch):
    """Every byte of the second part goes to a device that is really full."""
    with ResultsFolder(out, source) as results:
        results.write_part(to_table([make_row("a", run_id=results.run_id)]))
        write_bytes = Path.write_bytes

        def write_to_full_device(file, content):
            file.symlink_to("/dev/full")
            return write_bytes(file, content)

        monkeypatch.setattr(Path, "write_bytes", write_to_full_device)
        with pytest.raises(StoreError, match="No space left"):
            results.write_part(to_table([make_row("b", run_id=results.run_id)]))
    assert read_results(out)["path"].tolist() == ["a"]
    assert not list((out / "tmp").iterdir())


def test_results_are_readable_by_others(out, source):
    previous = os.umask(0o022)
    try:
        with ResultsFolder(out, source) as results:
            results.write_part(to_table([make_row("a", run_id=results.run_id)]))
            results.write_picture("overlays/a.png", b"png")
            results.write_record(make_record(source, run_id=results.run_id))
            record = out / "runs" / f"{results.run_id}.json"
    finally:
        os.umask(previous)
    for file in (record, out / "overlays" / "a.png", *(out / "table").iterdir()):
        assert file.stat().st_mode & 0o777 == 0o644, file
