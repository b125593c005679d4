"""A night over several archives: what stops it and what doesn't, and what the command says."""

import json
import os
import signal
import subprocess

import pytest

import pipeline
from pipeline.nightly import archives as loop
from pipeline.nightly.archives import ArchiveNight, nightly, preview_night, worst_exit_code
from pipeline.nightly.config import read_config
from pipeline.nightly.metrics_file import write_metrics_file
from pipeline.photos import load_tasks
from pipeline.records import Failure
from pipeline.report.status import read_status
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import record_files
from pipeline.results.read import part_files
from tests.helpers.archives import archive, metrics_of
from tests.helpers.commands import run_vitrollout, start_vitrollout
from tests.helpers.photos import save_photos


def test_one_archives_fault_does_not_stop_the_others(tmp_path, archives, write_config, caplog):
    config = read_config(write_config(archive("gone"), archive("boards"), archive("cells")))
    found = nightly(config)
    assert [(night.name, night.exit_code) for night in found] == [("gone", 2), ("boards", 3), ("cells", 0)]
    assert "folder . can't be read (No such file or directory)" in found[0].problem
    assert found[1].problem == "1 of 7 photos failed: 14.3%, more than 0.0%"
    assert found[1].problem in caplog.text
    assert found[2].problem is None
    assert worst_exit_code(found) == 2
    assert len(pipeline.read_results(tmp_path / "results/cells")) == 6


def test_a_fault_of_ours_costs_one_archive(archives, write_config, monkeypatch):
    def run(config, **options):
        if config.name == "cells":
            raise ZeroDivisionError("a mistake")
        return pipeline.run(config, **options)

    monkeypatch.setattr(loop, "run", run)
    found = nightly(read_config(write_config(archive("cells"), archive("castings"))))
    assert [(night.exit_code, night.problem) for night in found] == [(1, "ZeroDivisionError: a mistake"), (0, None)]


@pytest.mark.parametrize(("most", "code"), [(0.14, 3), (0.15, 0)])
def test_failures_count_above_their_budget(archives, write_config, most, code):
    (night,) = nightly(read_config(write_config(archive("boards", max_failed_share=most))))
    assert night.exit_code == code
    assert night.summary.failed == 1


def test_worst_exit_code_wins():
    def worst(*codes):
        return worst_exit_code([ArchiveNight(str(code), code) for code in codes])

    assert [worst(), worst(0, 3), worst(3, 75), worst(75, 2, 3), worst(2, 1, 0)] == [0, 3, 75, 2, 1]


def test_busy_archive_is_75_and_the_next_one_is_processed(archives, write_config):
    config = read_config(write_config(archive("cells"), archive("castings")))
    with ResultsFolder(config.archive[0].out, archives / "cells"):
        found = nightly(config)
    assert [night.exit_code for night in found] == [75, 0]


def test_time_budget_ends_the_night_with_what_is_done(tmp_path, archives, write_config, monkeypatch):
    """A clock that jumps past the end once the first batch is through."""
    save_photos(archives / "cells", 40)
    config = read_config(write_config(archive("cells", batch_size=4), archive("castings"), top='stop_after = "5h"'))
    hours = {"now": 0.0}
    monkeypatch.setattr(loop.time, "monotonic", lambda: hours["now"] * 3600)

    def run(settings, *, stop):
        def asked():
            hours["now"] += 1
            return stop()

        return pipeline.run(settings, stop=asked)

    monkeypatch.setattr(loop, "run", run)
    cells, castings = nightly(config)
    assert (cells.exit_code, castings.exit_code) == (0, 0)
    assert cells.summary.interrupted
    assert 0 < cells.summary.processed < 40
    assert len(pipeline.read_results(tmp_path / "results/cells")) == cells.summary.processed
    assert castings.problem == "not begun: the time budget of 5:00:00 is used up"
    assert not (tmp_path / "results/castings").exists()


def test_dry_run_says_what_would_be_done_and_does_nothing(tmp_path, archives, write_config, caplog):
    caplog.set_level("INFO")
    config = read_config(write_config(archive("cells"), archive("boards", limit=3), archive("gone")))
    pipeline.run(config.archive[0])
    save_photos(archives / "cells" / "new", 2)
    (archives / "cells" / "photo-0003.png").unlink()
    before = sorted(tmp_path.rglob("*"))
    nights = preview_night(config)
    assert [night.exit_code for night in nights] == [0, 0, 2]
    cells = {"to_process": 2, "done_before": 5, "new": 2, "changed": 0, "gone": 1, "failed_before": 0}
    boards = {"to_process": 3, "done_before": 0, "new": 7, "changed": 0, "gone": 0, "failed_before": 0}
    assert [night.plan for night in nights] == [cells, boards, None]
    assert sorted(tmp_path.rglob("*")) == before
    assert f"archive cells: 2 photos to process into {tmp_path}/results/cells, 5 done" in caplog.messages
    assert f"archive boards: 3 photos to process into {tmp_path}/results/boards, 0 done" in caplog.messages


def test_small_parts_are_compacted_and_old_records_go(tmp_path, archives, write_config):
    top = "compact_above = 3\nkeep_runs = 2"
    config = read_config(write_config(archive("cells", batch_size=1, part_rows=1), top=top))
    out = config.archive[0].out
    for night in range(4):
        save_photos(archives / "cells", 6 + night)
        nightly(config)
        assert len(part_files(out)) <= 3
        assert len(pipeline.read_results(out)) == 6 + night
    assert len(record_files(out)) == 2


# --- the command


def test_command_reports_as_json_and_logs_as_json(tmp_path, archives, write_config):
    file = write_config(archive("boards"))
    done = run_vitrollout("nightly", file, "--log-format", "json")
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["problems"] == ["archive boards: 1 of 7 photos failed: 14.3%, more than 0.0%"]
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (warning,) = [line for line in lines if line["level"] == "WARNING"]
    assert warning["path"] == "broken.png"
    assert {"time", "level", "logger", "message"} <= warning.keys()


def test_report_is_there_also_where_the_metrics_can_not_be_written(archives, write_config):
    file = write_config(archive("castings"), top='metrics_file = "no/such/folder/night.prom"')
    done = run_vitrollout("nightly", file)
    assert done.returncode == 1
    assert "metrics_file = " in done.stderr.splitlines()[-1]
    assert json.loads(done.stdout.splitlines()[-1])["archives"][0]["summary"]["ok"] == 6


@pytest.mark.parametrize("to_group", [False, True])
def test_sigterm_commits_the_open_part_and_leaves_the_other_archives(
    tmp_path, archives, many_photos, write_config, to_group
):
    cells = archive("cells", input=str(many_photos), overlay_size=64)
    process = start_vitrollout("nightly", write_config(cells, archive("castings")))
    first = tmp_path / "results/cells/overlays/photo-0000.png.png"
    while not first.exists():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
    (os.killpg if to_group else os.kill)(process.pid, signal.SIGTERM)
    stdout, stderr = process.communicate()
    assert process.returncode == 143, stderr
    report = json.loads(stdout.splitlines()[-1])
    assert report["problems"] == ["archive castings: not begun: interrupted"]
    done = report["archives"][0]["summary"]["processed"]
    assert 0 < done < 1500
    assert len(pipeline.read_results(tmp_path / "results/cells")) == done


# --- photos that failed before


def break_photo(archives):
    """Make the first photo of `cells` a link to nowhere, as to a disk that is not mounted."""
    (archives / "cells" / "photo-0000.png").unlink()
    (archives / "cells" / "photo-0000.png").symlink_to("/nowhere/photo.png")


def test_a_quiet_night_with_old_failures_is_well_and_counts_them(tmp_path, archives, write_config, caplog):
    caplog.set_level("INFO")
    config = read_config(write_config(archive("boards"), archive("cells"), top='metrics_file = "night.prom"'))
    break_photo(archives)
    assert [night.exit_code for night in nightly(config)] == [3, 3]
    (archives / "boards" / "photo-0005.png").unlink()
    nights = nightly(config)
    assert [night.exit_code for night in nights] == [0, 0]
    assert [night.summary.standing for night in nights] == [1, 1]
    line = (
        "archive boards: 0 photos new, 0 changed, 6 the same, 1 gone; 0 failed tonight, 0 of them again; 1 stand failed"
    )
    assert line in caplog.text
    write_metrics_file(config, nights)
    metrics = metrics_of(tmp_path / "night.prom")
    assert metrics['vitrollout_photos_standing_failed{archive="cells"}'] == 1
    assert metrics['vitrollout_photos_compared{archive="boards",difference="gone"}'] == 1
    assert metrics['vitrollout_photos{archive="boards",status="failed"}'] == 0
    assert read_status(config.archive[0].out).gone == 1


@pytest.mark.parametrize(("most", "codes"), [(0.0, [3, 3]), (0.2, [0, 0]), (0.1, [3, 3])])
def test_photos_that_fail_every_night_are_counted_against_the_archive(archives, write_config, most, codes, monkeypatch):
    real = load_tasks.load_sample

    def lose_one(ref, spec):
        return Failure(ref, "can't be read: Stale file handle") if "0003" in ref.path else real(ref, spec)

    monkeypatch.setattr(load_tasks, "load_sample", lose_one)  # workers are forked, so it holds there, too
    config = read_config(write_config(archive("cells", max_failed_share=most)))
    nights = [nightly(config)[0] for _ in range(2)]
    assert [night.exit_code for night in nights] == codes
    assert [night.summary.failed_again for night in nights] == [0, 1]
    if most == 0:
        assert nights[1].problem == "1 of 6 photos failed again: 16.7%, more than 0.0%"
