"""A process with one device, and a pipe to it: shards go in by number, answers come back.

The process is spawned, not forked: CUDA doesn't survive a fork. It forks decoders of its own.
"""

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from pipeline.engines.tasks import (
    Answer,
    DeviceShare,
    DeviceWorker,
    Died,
    Fault,
    OneByOne,
    SignOfLife,
    StartRunner,
    Task,
)
from pipeline.errors import VitrolloutError

_CONTEXT = get_context("spawn")


@dataclass(eq=False)
class DeviceProcess(DeviceWorker):
    """The near end of a process of this machine."""

    process: Any
    pipe: Connection

    def send(self, message: Task | None) -> None:
        """Hand over a task; None: end after the current batch."""
        try:
            self.pipe.send(message)
        except OSError:  # dead: its end of the pipe says so to the reader
            return

    def receive(self) -> Answer:
        """Wait for the next answer."""
        try:
            answer: Answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Died(self.process.exitcode, f"exit code {self.process.exitcode}")
        return answer

    def end(self) -> None:
        """Kill the process if it is still there."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def start_device_process(start_runner: StartRunner, share: DeviceShare) -> DeviceProcess:
    """Start the process of a device."""
    near, far = _CONTEXT.Pipe()
    process = _CONTEXT.Process(
        target=serve_shards, args=(start_runner, share, far), name=f"vitrollout-{share.device}", daemon=False
    )
    with _hide_main_module():
        process.start()
    far.close()
    return DeviceProcess(share, share.device, process, near)


@contextmanager
def _hide_main_module() -> Iterator[None]:
    """Keep a spawned process from importing this one's main module: a user's script would run again there."""
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    for name in hidden:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


def serve_shards(start_runner: StartRunner, share: DeviceShare, pipe: Connection) -> None:
    """Work on shards in the process of a device, until told to stop or until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the coordinator decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        _serve_until_stopped(start_runner, share, pipe)
    except Exception as error:
        if not isinstance(error, VitrolloutError):
            error = VitrolloutError(f"a fault in the process of {share.device}: {traceback.format_exc()}")
        pipe.send(Fault(error))


def _serve_until_stopped(start_runner: StartRunner, share: DeviceShare, pipe: Connection) -> None:
    stopped = threading.Event()
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    runner = start_runner(share.device, share.workers, share.threads, lambda ok, failed: pipe.send(SignOfLife()))
    with runner:
        pipe.send(SignOfLife())
        threading.Thread(target=_receive_tasks, args=(pipe, tasks, stopped), daemon=True).start()
        while (task := tasks.get()) is not None and not stopped.is_set():
            if isinstance(task, OneByOne):
                pipe.send(runner.run_one_by_one(task.shard, task.broken, lambda path: pipe.send(SignOfLife(path))))
                continue
            later: list[OneByOne] = []
            for done in runner.run(_take_shards(task, tasks, later), stopped.is_set):
                pipe.send(done)
            for one in later:
                tasks.put(one)


def _take_shards(first: int, tasks: "queue.SimpleQueue[Task | None]", later: list[OneByOne]) -> Iterator[int]:
    """Yield shards as long as there are some: decoding runs ahead over their borders, and must not wait for more."""
    yield first
    while True:
        try:
            task = tasks.get_nowait()
        except queue.Empty:
            return
        if isinstance(task, int):
            yield task
        elif task is None:
            tasks.put(None)
            return
        else:
            later.append(task)


def _receive_tasks(pipe: Connection, tasks: "queue.SimpleQueue[Task | None]", stopped: threading.Event) -> None:
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):  # the coordinator is dead: another one may be at work already
            os._exit(1)
        if task is None:
            stopped.set()
        tasks.put(task)
