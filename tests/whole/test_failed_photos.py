"""Failed photos over several nights: broken ones are done, photos out of reach are tried again, all of them count."""

import builtins
import errno
import faulthandler
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

import pipeline
from pipeline.photos import content, load_photo, worker_process
from pipeline.report.status import format_status, read_status
from pipeline.results.names import part_files
from pipeline.results.parts import read_part
from pipeline.results.run_record import RunSummary
from tests.helpers.commands import run_vitrollout
from tests.helpers.photos import save_photos
from tests.helpers.tables import make_row, write_run

KILLED = {"sigkill.png": signal.SIGKILL, "sigbus.png": signal.SIGBUS}
CRASHED = {"sigsegv.png": signal.SIGSEGV, "sigfpe.png": signal.SIGFPE}


@pytest.fixture
def start(tmp_path, tiny_vit):
    """Runs over tmp_path/photos into tmp_path/out, with a tiny model."""
    (tmp_path / "photos").mkdir()

    def run(**settings):
        settings = {"overlay_size": None, "workers": 1, "precision": "fp32", "model": str(tiny_vit)} | settings
        return pipeline.run(pipeline.RunConfig(input=tmp_path / "photos", out=tmp_path / "out", **settings))

    return run


@pytest.fixture
def faults(monkeypatch):
    """What happens to whom: by a file's name, an error number, a MemoryError, or a signal to its reader."""
    deeds, real_open = {}, open

    def open_or_fail(file, *args, **options):
        deed = deeds.get(os.path.basename(file)) if isinstance(file, (str, bytes, Path)) else None
        if isinstance(deed, signal.Signals) and multiprocessing.parent_process():
            faulthandler.disable()  # pytest's own: its report of this crash would only look like trouble
            os.kill(os.getpid(), deed)
        if isinstance(deed, type):
            raise deed
        if deed and not isinstance(deed, signal.Signals):
            raise OSError(deed, os.strerror(deed))
        return real_open(file, *args, **options)

    monkeypatch.setattr(builtins, "open", open_or_fail)  # workers are forked, so it holds there, too
    return deeds


def rows_of(tmp_path):
    return pipeline.read_results(tmp_path / "out").set_index("path")


@pytest.mark.parametrize("deed", [errno.ESTALE, errno.ENOMEM, MemoryError])
def test_a_fault_of_the_machine_is_tried_again_by_itself(tmp_path, start, faults, deed):
    names = save_photos(tmp_path / "photos", 2)
    faults[names[1]] = deed
    first = start()
    assert (first.ok, first.failed, first.failed_again, first.exit_code) == (1, 1, 0, 3)
    second = start()
    assert (second.processed, second.failed, second.failed_again, second.exit_code) == (1, 1, 1, 3)
    assert sum(map(len, map(read_part, part_files(tmp_path / "out")))) == 3, "one more row a night, and no more"
    faults.clear()
    third = start()
    assert (third.processed, third.ok, third.standing, third.exit_code) == (1, 1, 0, 0)
    assert set(rows_of(tmp_path)["status"]) == {"ok"}


def test_a_killed_worker_says_nothing_of_the_photo_and_a_crash_does(tmp_path, start, faults):
    names = [*KILLED, *CRASHED, "fine.png"]
    for saved, name in zip(save_photos(tmp_path / "photos", 5), names, strict=True):
        (tmp_path / "photos" / saved).rename(tmp_path / "photos" / name)
    faults |= KILLED | CRASHED
    assert start().failed == 4
    hashes = rows_of(tmp_path)["content_hash"].notna()
    assert hashes.to_dict() == dict.fromkeys(KILLED, False) | dict.fromkeys([*CRASHED, "fine.png"], True)
    faults.clear()
    again = start()
    assert (again.processed, again.ok, again.standing, again.exit_code) == (2, 2, 2, 3)
    assert start(retry_failed=True).exit_code == 0


def test_crashes_and_kills_are_told_apart():
    blamed = {code for code in (None, 0, 1, 7, *range(-31, 0)) if worker_process.WorkerDiedError(code).blames_task}
    assert {1, 7, -signal.SIGSEGV, -signal.SIGABRT} <= blamed
    assert not blamed & {None, 0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGALRM, -signal.SIGBUS}


def test_a_file_changed_since_its_crash_gets_a_verdict_of_its_own(tmp_path, start, faults, monkeypatch):
    (name,) = save_photos(tmp_path / "photos", 1)
    faults[name] = signal.SIGSEGV
    real = content.hash_file

    def change_and_hash(ref):
        os.utime(ref.file, ns=(1, 1))
        return real(ref)

    monkeypatch.setattr(content, "hash_file", change_and_hash)
    start()
    assert rows_of(tmp_path)["content_hash"].isna().all()


def test_a_lack_of_memory_in_torch_is_tried_again_and_its_other_errors_are_ours(tmp_path, start, monkeypatch):
    save_photos(tmp_path / "photos", 1)
    with monkeypatch.context() as patch:  # workers are forked, so it holds there, too
        patch.setattr(load_photo, "downscale", lambda *_: torch.empty(1 << 60, dtype=torch.uint8))
        assert start(overlay_size=64).failed == 1
        assert rows_of(tmp_path)["error"].tolist() == ["not enough memory for it"]
        patch.setattr(load_photo, "downscale", lambda *_: torch.zeros(2) @ torch.zeros(3))
        with pytest.raises(RuntimeError, match="size"):
            start(overlay_size=64)
    assert start(overlay_size=64).ok == 1


def test_time_outs_are_tried_again(tmp_path, start, monkeypatch):
    save_photos(tmp_path / "photos", 1)

    def no_time(*_, **__):
        raise worker_process.WorkerTimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(worker_process.Worker, "run_all", no_time)
        assert start().failed == 1
    assert start().ok == 1


def test_failed_photos_that_stand_are_said_and_are_exit_3(tmp_path, start, tiny_vit, faults, caplog):
    names = save_photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "text.gif").write_text("hello")
    (tmp_path / "photos" / "none.webp").write_bytes(b"")
    faults[names[0]] = errno.EIO
    assert start().standing == 0
    summary = start(limit=1)
    assert (summary.standing, summary.failed, summary.failed_again) == (2, 1, 1)
    text = "5 photos, 3 failed (2 broken, 1 out of reach, tried again by the next run)"
    assert text in format_status(read_status(tmp_path / "out"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "3 of 5 photos failed: 2 broken, 1 out of reach, tried again by the next run" in page
    faults.clear()
    start()
    done = run_vitrollout("run", tmp_path / "photos", "--out", tmp_path / "out", "--model", tiny_vit,
                          "--overlay-size", "none", "--precision", "fp32")  # fmt: skip
    assert done.returncode == 3
    assert "0 new, 0 changed, 5 the same, 0 gone; 2 failed before; 0 to process" in done.stderr
    assert "failed in earlier runs, and no different since: 2" in done.stderr


def test_deleted_photos_are_counted_until_they_are_pruned(tmp_path, start):
    names = save_photos(tmp_path / "photos", 3)
    save_photos(tmp_path / "photos" / "a", 2)
    start()
    (tmp_path / "photos" / names[2]).unlink()
    save_photos(tmp_path / "photos" / "b", 1)
    summary = start()
    assert (summary.found, summary.new, summary.changed, summary.gone, summary.done_before) == (5, 1, 0, 1, 4)
    assert "1 of the photos are gone" in format_status(read_status(tmp_path / "out"))
    assert "Gone since: 1." in (tmp_path / "out" / "report.html").read_text()
    assert start(pattern="a/*").gone == 1, "photos left out are not gone"
    assert run_vitrollout("compact", tmp_path / "out", "--prune").returncode == 0
    assert read_status(tmp_path / "out").gone == 0
    assert not any(names[2] in file.read_text() for file in (tmp_path / "out" / "report").glob("*/index.js"))
    write_run(tmp_path / "out", tmp_path / "photos", [make_row("b/photo-0000.png")])  # a killed run has no record
    assert pipeline.compact(tmp_path / "out").parts_before == 2
    assert read_status(tmp_path / "out").gone == 0


def test_photos_in_an_unreadable_folder_are_not_gone(tmp_path, start, file_permissions_hold):
    save_photos(tmp_path / "photos" / "locked", 2)
    save_photos(tmp_path / "photos", 1)
    start()
    (tmp_path / "photos" / "locked").chmod(0)
    try:
        with file_permissions_hold():
            summary = start()
    finally:
        (tmp_path / "photos" / "locked").chmod(0o700)
    assert (summary.gone, summary.unreadable_folders) == (0, 1)


def test_records_of_earlier_versions_have_no_failures_standing():
    old = RunSummary("r", "in", "out", 1, 1, 0, 0, 0, 0, False, 1.0, 1.0)
    assert (old.standing, old.gone, old.exit_code) == (0, 0, 0)
