"""A night over several archives: its configuration, what stops it and what doesn't, and what is left to read."""

import json
import os
import signal
import subprocess
from datetime import timedelta

import pytest

import pipeline
from pipeline.errors import ConfigError
from pipeline.nightly import archives as loop
from pipeline.nightly.archives import ArchiveNight, nightly, preview_night, worst_exit_code
from pipeline.nightly.config import read_config
from pipeline.nightly.metrics_file import write_metrics_file
from pipeline.report.status import format_status, read_status
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import record_files
from pipeline.results.read import part_files
from tests.helpers.commands import run_vitrollout, start_vitrollout
from tests.helpers.photos import save_photos

COMMON = 'workers = 1\noverlay_size = "none"\nprecision = "fp32"\n'


@pytest.fixture
def write_config(tmp_path, tiny_vit):
    """Writes the configuration of some archives below `tmp_path`, each a dictionary; `top` comes first."""

    def write(*archives, top=""):
        lines = [top, "[defaults]", f'model = "{tiny_vit}"', COMMON]
        for archive in archives:
            lines += ["[[archive]]", *(f"{name} = {json.dumps(value)}" for name, value in archive.items())]
        file = tmp_path / "nightly.toml"
        file.write_text("\n".join(lines))
        return file

    return write


def archive(folder, **more):
    return {"input": f"archives/{folder}", "out": f"results/{folder}"} | more


@pytest.fixture
def archives(tmp_path):
    """Three archives; one photo of `boards` is broken."""
    for name in ("cells", "boards", "castings"):
        save_photos(tmp_path / "archives" / name, 6)
    (tmp_path / "archives" / "boards" / "broken.png").write_bytes(b"broken")
    return tmp_path / "archives"


# --- the configuration


def test_paths_are_relative_to_the_file_and_defaults_hold(tmp_path, write_config, monkeypatch):
    monkeypatch.chdir("/")
    config = read_config(
        write_config(archive("cells", overlay_size=512), archive("x", name="boards"), top='stop_after="90min"')
    )
    cells, boards = config.archive
    assert (config.stop_after, config.compact_above) == (timedelta(minutes=90), 50)
    assert (cells.name, cells.input, cells.out) == ("cells", tmp_path / "archives/cells", tmp_path / "results/cells")
    assert (boards.name, cells.overlay_size, boards.overlay_size, boards.workers) == ("boards", 512, None, 1)


def test_the_csv_of_expected_labels_is_relative_to_the_file_too(tmp_path, write_config, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "labels.csv").write_text("path,label\n")
    explained = {"method": ["legrad", "rollout"], "target": "expected", "labels": "labels.csv", "versus": 3}
    (cells,) = read_config(write_config(archive("cells", **explained))).archive
    assert (cells.method, cells.labels, cells.versus) == (("legrad", "rollout"), tmp_path / "labels.csv", "3")


def test_a_model_folder_beside_the_file(tmp_path, write_config, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "models" / "mine").mkdir(parents=True)
    named = ("models/mine", "org/model", "bundled")
    archives = read_config(write_config(*(archive(f"a{n}", model=it) for n, it in enumerate(named)))).archive
    assert [it.model for it in archives] == [str(tmp_path / "models/mine"), "org/model", "bundled"]


def test_all_errors_at_once_with_the_nearest_key(write_config):
    file = write_config(
        {"input": "a", "out": "b", "max_faild_share": 0.1, "method": "rolout"},
        {"name": "boards", "input": "c", "batch_sise": 3, "out": "b"},
        {"input": "d", "out": "e", "name": "f"},
        {"input": "d", "out": "g", "name": "f"},
        top='stop_afte = "5h"\nkeep_runs = 0\nmetrics_file = "metrics.txt"',
    )
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert caught.value.exit_code == 2
    found = "\n".join(caught.value.problems)
    for words in (
        "stop_afte: no such setting; did you mean stop_after?",
        "keep_runs = 0: must be greater than or equal to 1",
        "metrics_file = ",
        "must end in .prom",
        "archive a: max_faild_share: no such setting; did you mean max_failed_share?",
        "archive a: method = rolout: must be 'rollout', 'article', ",
        "archive boards: batch_sise: no such setting; did you mean batch_size?",
        "name = f: 2 archives have it",
    ):
        assert words in found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("stop_after = ", "is not valid TOML"),
        ("", "archive: there is none"),
        ("archive = 3", r"archives must be tables \[\[archive\]\]"),
        ('stop_after = "soon"\n[[archive]]\ninput="a"\nout="b"', "must be a duration such as 5h"),
        ('stop_after = 18000\n[[archive]]\ninput="a"\nout="b"', "must be a duration such as 5h"),
        ('stop_after = "1.5"\n[[archive]]\ninput="a"\nout="b"', "must be a duration such as 5h"),
        ('stop_after = "NaT"\n[[archive]]\ninput="a"\nout="b"', "must be a duration such as 5h"),
        ('stop_after = "-5h"\n[[archive]]\ninput="a"\nout="b"', "must be positive"),
        ('[[archive]]\ninput="a"', "archive a: out: must be given"),
        ('[[archive]]\nout="a"', "archive 1: input: must be given"),
    ],
)
def test_wrong_files(tmp_path, content, words):
    file = tmp_path / "nightly.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_config(file)


def test_two_archives_must_not_share_a_results_folder(write_config):
    with pytest.raises(ConfigError, match="results: 2 archives have it"):
        read_config(write_config({"input": "a", "out": "results"}, {"input": "b", "out": "results"}))


# --- the night


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
    before = sorted(tmp_path.rglob("*"))
    assert [night.exit_code for night in preview_night(config)] == [0, 0, 2]
    assert sorted(tmp_path.rglob("*")) == before
    assert f"archive cells: 2 photos to process into {tmp_path}/results/cells, 6 done" in caplog.messages
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


# --- what is left to read


def metrics_of(file):
    lines = [line.rpartition(" ") for line in file.read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_metrics_for_prometheus(tmp_path, archives, write_config):
    config = read_config(write_config(archive("cells"), archive("boards"), top='metrics_file = "night.prom"'))
    write_metrics_file(config, nightly(config))
    first = metrics_of(tmp_path / "night.prom")
    assert first['vitrollout_photos{archive="boards",status="failed"}'] == 1
    assert first['vitrollout_photos{archive="cells",status="ok"}'] == 6
    assert first['vitrollout_exit_code{archive="boards"}'] == 3
    assert first['vitrollout_photos_per_second{archive="cells"}'] > 0
    assert first['vitrollout_stage_seconds{archive="cells",stage="model"}'] > 0
    success = 'vitrollout_last_success_timestamp_seconds{archive="%s"}'
    assert success % "cells" in first
    assert success % "boards" not in first, "it never had one"
    for photo in (archives / "cells").iterdir():
        photo.write_bytes(b"the camera broke")
    write_metrics_file(config, nightly(config))
    second = metrics_of(tmp_path / "night.prom")
    assert second['vitrollout_photos{archive="cells",status="failed"}'] == 6
    assert second[success % "cells"] == first[success % "cells"], "the last success stays what it was"
    assert sorted(file.name for file in tmp_path.glob("night.*")) == ["night.prom"]


def test_status_shows_runs_labels_and_failures(tmp_path, archives, write_config):
    (night,) = nightly(read_config(write_config(archive("boards"))))
    status = read_status(tmp_path / "results/boards")
    assert (status.photos, status.failed, status.parts) == (7, 1, 1)
    assert sum(status.labels.values()) == 6
    assert status.reasons == {"not an image of a supported format": 1}
    assert status.failures == [("broken.png", "not an image of a supported format")]
    text = format_status(status)
    assert "7 photos, 1 failed; 1 parts" in text
    assert "     1  not an image of a supported format" in text
    assert status.runs[0].summary.run_id == night.summary.run_id


def test_status_of_what_is_no_results_folder(tmp_path):
    with pytest.raises(ConfigError, match="is not a results folder"):
        read_status(tmp_path)


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
def test_sigterm_commits_the_open_part_and_leaves_the_other_archives(tmp_path, archives, write_config, to_group):
    save_photos(archives / "cells", 1500)
    process = start_vitrollout("nightly", write_config(archive("cells", overlay_size=64), archive("castings")))
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
