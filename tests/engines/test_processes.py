"""Shards on several devices: whatever happens to a process, each photo gets one row."""

from collections import Counter
from functools import partial

import pytest

from pipeline.engines.processes import drive, share_cores
from pipeline.engines.tasks import DeviceShare
from pipeline.errors import StoreError, VitrolloutError
from pipeline.results.read import read_results
from tests.helpers.device_runners import Accidents, start_simulated

TWO = [DeviceShare("cuda:0", 1), DeviceShare("cuda:1", 1)]


@pytest.fixture
def start(tmp_path, open_run):
    """Works on all shards of the run with two devices; returns what was done."""

    def start(stop=lambda: False, shares=TWO, **accidents):
        done = []
        runner = partial(start_simulated, open_run, Accidents(tmp_path, **accidents))
        drive(runner, open_run.missing(), shares, done.append, stop)
        return done

    return start


def workers(tmp_path):
    """Return device, process and shard of each commit."""
    return [line.split() for line in (tmp_path / "workers").read_text().splitlines()]


def assert_one_row_a_photo(tmp_path, failed=()):
    rows = read_results(tmp_path / "out")
    assert rows["path"].tolist() == [f"{number:02}.png" for number in range(20)]
    assert rows.loc[rows["status"] == "failed", "path"].tolist() == list(failed)
    return rows


def test_devices_share_the_shards(tmp_path, start, open_run):
    done = start()
    assert sorted(shard.shard for shard in done) == [0, 1, 2, 3, 4]
    assert sum(shard.ok for shard in done) == 20
    assert open_run.missing() == []
    assert_one_row_a_photo(tmp_path)
    assert {device for device, _, _ in workers(tmp_path)} <= {"cuda:0", "cuda:1"}


def test_the_shards_of_a_dead_process_are_tried_again(tmp_path, start, caplog):
    done = start(dies_once=(0, 3))
    assert Counter(shard.shard for shard in done) == Counter(range(5))
    assert_one_row_a_photo(tmp_path)
    assert len([message for message in caplog.messages if "exit code -9" in message]) == 2


def test_photos_that_end_their_process_become_failed_rows(tmp_path, start, caplog):
    """Two in one shard, one in another: each is found by itself, and the others of their shards are done."""
    done = start(killers=("01.png", "02.png", "17.png"))
    assert sum(shard.failed for shard in done) == 3
    rows = assert_one_row_a_photo(tmp_path, failed=["01.png", "02.png", "17.png"])
    assert set(rows["error"].dropna()) == {"the process of the device died on it (exit code -9)"}
    assert "shard 0 ended 4 processes: its photos are tried one by one" in caplog.messages


def test_a_lost_device_is_left_out(tmp_path, start, caplog):
    start(lost=("cuda:1",))
    assert_one_row_a_photo(tmp_path)
    assert "device cuda:1 no longer answers; going on without it" in caplog.messages
    assert {device for device, _, _ in workers(tmp_path)} == {"cuda:0"}


def test_a_device_whose_process_never_starts_is_left_out(tmp_path, start, caplog):
    start(never_starts=("cuda:0",))
    assert_one_row_a_photo(tmp_path)
    assert {device for device, _, _ in workers(tmp_path)} == {"cuda:1"}
    assert "the process of cuda:0 died (exit code -9); its shards are tried again" in caplog.messages


@pytest.mark.parametrize("accident", [{"lost": ("cuda:0", "cuda:1")}, {"never_starts": ("cuda:0", "cuda:1")}])
def test_no_device_left_is_a_fault(start, accident):
    with pytest.raises(VitrolloutError, match="no device is left; everything committed stays: run again") as caught:
        start(**accident)
    assert caught.value.exit_code == 1


def test_a_full_disk_ends_all(start):
    with pytest.raises(StoreError, match="No space left"):
        start(disk_full=True)


def test_a_stopped_run_leaves_whole_parts(tmp_path, start, open_run):
    asked = iter(range(1000))
    done = start(stop=lambda: next(asked) > 0)
    assert {shard.shard for shard in done} <= open_run.committed()
    start()
    assert_one_row_a_photo(tmp_path)


def test_a_shard_committed_by_somebody_else_is_no_fault(tmp_path, start, open_run):
    """Two coordinators with the same list of shards."""
    todo = open_run.missing()
    start()
    done = []
    drive(partial(start_simulated, open_run, Accidents(tmp_path)), todo, TWO, done.append, lambda: False)
    assert [shard.is_ours for shard in done] == [False] * 5
    assert_one_row_a_photo(tmp_path)


def test_cores_are_shared_by_the_devices():
    assert share_cores(["cuda:0", "cuda:1", "cuda:2"], 16, None) == [DeviceShare(f"cuda:{n}", 5) for n in range(3)]
    assert share_cores(["cpu", "cpu"], 2, None) == [DeviceShare("cpu", 1, 1)] * 2
    assert share_cores(["cpu"] * 4, 2, 3) == [DeviceShare("cpu", 3, 1)] * 4
