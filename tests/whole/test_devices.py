"""A run on two devices, as processes: killed, stopped and woken again, its table is that of a plain run."""

import json
import os
import random
import signal
import subprocess

import pandas as pd
import pytest

import pipeline
from pipeline.results.names import part_files
from pipeline.results.open_run import read_open_runs
from pipeline.results.parts import read_part
from tests.helpers.commands import start_vitrollout
from tests.helpers.device_processes import device_processes_of
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos

PHOTOS = 60
PER_RUN = ["run_id", "processed_at"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Photos, a model, and the table of a plain run."""
    folder = tmp_path_factory.mktemp("material")
    save_photos(folder / "photos", PHOTOS - 1)
    (folder / "photos" / "photo-0030-broken.png").write_bytes(b"no image")
    save_tiny_vit(folder / "model")
    settings = {"model": str(folder / "model"), "precision": "fp32", "batch_size": 2, "part_rows": 4, "workers": 1}
    pipeline.run(pipeline.RunConfig(input=folder / "photos", out=folder / "plain", **settings))
    return folder


@pytest.fixture
def start(material, tmp_path):
    """Starts a run on two devices into tmp_path/out."""

    def start(*more):
        return start_vitrollout(
            "run", material / "photos", "--out", tmp_path / "out", "--model", material / "model", "--device", "cpu",
            "--devices", 2, "--precision", "fp32", "--batch-size", 2, "--part-rows", 4, *more,
        )  # fmt: skip

    return start


def wait_for_parts(process, out, count):
    """Wait until the table has so many parts, or the process has ended."""
    while process.returncode is None and len(part_files(out)) < count:
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue


def kill(process):
    """Kill the coordinator alone, and don't wait for its workers, which hold the other ends of its streams."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()


def assert_as_plain(material, out):
    paths = [path for part in part_files(out) for path in read_part(part, ["path"])["path"].to_pylist()]
    assert len(paths) == len(set(paths)) == PHOTOS
    found, plain = (pipeline.read_results(folder).drop(columns=PER_RUN) for folder in (out, material / "plain"))
    pd.testing.assert_frame_equal(found, plain, rtol=1e-5, atol=1e-6, check_categorical=False)
    for name in found["overlay"].dropna():
        assert (out / name).read_bytes() == (material / "plain" / name).read_bytes()
    assert read_open_runs(out) == []


def test_two_devices_say_what_one_says(material, tmp_path, start):
    process = start()
    stdout, stderr = process.communicate()
    assert process.returncode == 3, stderr  # one photo is broken
    summary = json.loads(stdout.splitlines()[-1])
    assert (summary["processed"], summary["ok"], summary["failed"]) == (PHOTOS, PHOTOS - 1, 1)
    assert_as_plain(material, tmp_path / "out")
    (record,) = (tmp_path / "out" / "runs").glob("*")
    assert json.loads(record.read_text())["engine"] == "processes"
    assert not list((tmp_path / "out" / "tmp").iterdir())


@pytest.mark.parametrize("seed", [1])
def test_killed_coordinators_and_workers_lose_nothing(material, tmp_path, start, seed):
    """The killed run stays open; the same command goes on with its plan."""
    moments, out = random.Random(seed), tmp_path / "out"
    for parts in sorted(moments.sample(range(1, 14), 2)):
        process = start()
        wait_for_parts(process, out, parts)
        for child in device_processes_of(process.pid)[: moments.randint(0, 1)]:
            os.kill(child, signal.SIGKILL)
        kill(process)
    runs = {run.run_id for run in read_open_runs(out)}
    process = start()
    _, stderr = process.communicate()
    assert process.returncode == 3, stderr
    assert_as_plain(material, out)
    assert len(runs) <= 1
    assert all((out / "runs" / f"{run}.json").exists() for run in runs), "its plan is finished, not begun again"


def test_a_worker_that_wakes_after_another_run_took_over_writes_no_row(material, tmp_path, start):
    """Stopped with a shard in its hands, it misses the end of its run; awake again, it finds the names taken."""
    out = tmp_path / "out"
    process = start()
    wait_for_parts(process, out, 2)
    sleeper = device_processes_of(process.pid)[0]
    os.kill(sleeper, signal.SIGSTOP)
    kill(process)
    process = start()
    _, stderr = process.communicate()
    assert process.returncode == 3, stderr
    os.kill(sleeper, signal.SIGCONT)
    with open(f"/proc/{sleeper}/stat") as alive:  # until the system has taken it away
        while alive.readable():
            try:
                alive.seek(0)
                if alive.read().rpartition(")")[2].split()[0] == "Z":
                    break
            except ProcessLookupError:
                break
    assert_as_plain(material, out)


def test_ctrl_c_leaves_the_run_open_and_the_next_one_ends_it(material, tmp_path, start):
    out = tmp_path / "out"
    process = start()
    wait_for_parts(process, out, 3)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate()
    assert process.returncode == 130
    summary = json.loads(stdout.splitlines()[-1])
    assert summary["interrupted"]
    assert summary["processed"] == sum(len(read_part(part, ["path"])) for part in part_files(out)) < PHOTOS
    (run,) = read_open_runs(out)
    process = start()
    process.communicate()
    assert_as_plain(material, out)
    assert (out / "runs" / f"{run.run_id}.json").exists()


def test_other_settings_close_an_open_run(material, tmp_path, start):
    out = tmp_path / "out"
    process = start("--method", "attention")
    wait_for_parts(process, out, 3)
    kill(process)
    (old,) = read_open_runs(out)
    process = start()
    process.communicate()
    assert read_open_runs(out) == []
    assert json.loads((out / "runs" / f"{old.run_id}.json").read_text())["interrupted"]
    assert old.missing() == [], "sealed: a late worker is refused"
    found, plain = (pipeline.read_results(folder).drop(columns=PER_RUN) for folder in (out, material / "plain"))
    pd.testing.assert_frame_equal(found, plain, rtol=1e-5, atol=1e-6, check_categorical=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "cpu", "--devices", "0,1"], "devices = 0,1: a CPU has no numbers; give how many"),
        (["--device", "cuda:0", "--devices", "2"], "devices = 2: with --device cuda:0 there is one"),
        (["--device", "cpu", "--devices", "0"], "devices = 0: must be at least 1; device 0 alone is --device cuda:0"),
        (["--devices", "two"], "devices = two: must be how many, such as 4, or all, or their numbers, such as 0,2,3"),
        (["--device", "cuda", "--devices", "2"], "device = cuda: not on this machine; use auto or cpu"),
    ],
)  # fmt: skip
def test_devices_that_are_not_there_are_refused_first(material, tmp_path, options, said):
    process = start_vitrollout("run", material / "photos", "--out", tmp_path / "out", *options)
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert said in stderr
    assert not (tmp_path / "out" / "table").exists()
