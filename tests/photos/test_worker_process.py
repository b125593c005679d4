"""A worker process: what becomes of its tasks when it fails, dies or hangs."""

import os
import platform
import resource
import signal
import struct
import threading
from multiprocessing.connection import Connection
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError


def perform(task):
    """Do what the task says."""
    deed, *arguments = task
    return deed(*arguments)


@pytest.fixture
def worker():
    worker = Worker(perform)
    yield worker
    worker.stop()


def run(worker, *task, seconds=60):
    return worker.run(task, seconds=seconds)


def fail(message):
    raise KeyError(message)


def send_half_and_die():
    Connection.send = lambda pipe, _: (os.write(pipe.fileno(), struct.pack("!i", 10_000) + b"half"), os._exit(3))


def count_page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in (12_000_000, 9_000_000, 2_400_000):  # of a decoded photo, as Pillow and as NumPy hold it, and a copy
        np.ones(size, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_what_one_photo_frees_is_there_for_the_next(worker):
    first, *later = (run(worker, count_page_faults) for _ in range(4))
    assert max(later) < first / 2


def resident_bytes_after(blocks):
    pieces = [np.ones(2**24, np.uint8) for _ in range(blocks)]  # as Pillow holds a large photo
    del pieces
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_what_a_huge_photo_frees_does_not_stay(worker):
    small = run(worker, resident_bytes_after, 1)
    assert run(worker, resident_bytes_after, 40) < small + 2**28, "640 MB were freed"


def test_tasks_run_in_one_other_process(worker):
    processes = {run(worker, os.getpid) for _ in range(3)}
    assert len(processes) == 1
    assert processes != {os.getpid()}


def test_results_larger_than_a_pipe_holds(worker):
    assert run(worker, bytes, 10_000_000) == bytes(10_000_000)
    assert run(worker, len, bytes(10_000_000)) == 10_000_000


def test_result_of_none_is_a_result(worker):
    assert run(worker, {}.get, 1) is None


def test_errors_are_raised_here_and_the_process_stays(worker):
    process = run(worker, os.getpid)
    with pytest.raises(KeyError, match="oops") as caught:
        run(worker, fail, "oops")
    assert "in fail" in "".join(caught.value.__notes__)
    assert run(worker, os.getpid) == process


@pytest.mark.parametrize("deed", [(os._exit, 3), (send_half_and_die,)], ids=["at work", "in its answer"])
def test_death_says_its_exit_code_and_the_next_task_has_another_process(worker, deed):
    process = run(worker, os.getpid)
    with pytest.raises(WorkerDiedError, match="exit code 3"):
        run(worker, *deed)
    assert run(worker, os.getpid) not in (process, os.getpid())


def test_workers_that_die_at_once_keep_their_exit_codes():
    """multiprocessing waits for every child where one starts, and so takes exit codes from each other's threads."""
    workers = [Worker(perform) for _ in range(4)]
    codes = {worker: [] for worker in workers}

    def die_often(worker):
        for code in range(1, 16):
            with pytest.raises(WorkerDiedError) as caught:
                run(worker, os._exit, code)
            codes[worker].append(caught.value.exit_code)

    threads = [threading.Thread(target=die_often, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.stop()
    assert list(codes.values()) == [list(range(1, 16))] * 4


def test_death_between_tasks_is_noticed_at_the_next(worker):
    os.kill(run(worker, os.getpid), signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match="exit code -9"):
        run(worker, os.getpid)
    assert run(worker, os.getpid)


def test_a_pause_of_the_whole_program_is_no_hang(worker):
    """On waking up, a wait has lasted too long at once, whatever it was to be."""
    pipe = worker._pipe
    waits = iter([False, False])
    worker._pipe = SimpleNamespace(send=pipe.send, recv=pipe.recv, poll=lambda seconds: next(waits, True))
    assert run(worker, os.getppid, seconds=5) == os.getpid()
    worker._pipe = pipe


def test_hang_is_ended_and_the_next_task_has_another_process(worker):
    process = run(worker, os.getpid)
    with pytest.raises(WorkerTimeoutError):
        run(worker, signal.pause, seconds=0.1)
    assert run(worker, os.getpid) != process
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_stop_ends_a_task_from_another_thread_and_starts_no_process():
    worker = Worker(perform)
    ended = []

    def wait_for_ever():
        with pytest.raises(WorkerDiedError):
            run(worker, signal.pause, seconds=3600)
        with pytest.raises(WorkerDiedError):
            run(worker, os.getpid)
        ended.append(True)

    process = run(worker, os.getpid)
    thread = threading.Thread(target=wait_for_ever)
    thread.start()
    worker.stop()
    thread.join()
    assert ended == [True]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_result_that_can_not_be_sent_does_not_hang(worker):
    with pytest.raises(WorkerDiedError):
        run(worker, threading.Lock)
    assert run(worker, os.getpid)
