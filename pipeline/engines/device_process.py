"""A process with one device, and a pipe to it: shards go in by number, answers come back.

The process is spawned, not forked: CUDA doesn't survive a fork. It forks decoders of its own.
"""

import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeAlias

from pipeline.errors import VitrolloutError
from pipeline.work import ShardDone, ShardRunner

_CONTEXT = get_context("spawn")


class StartRunner(Protocol):
    """Builds the runner of a device in its own process; can be pickled. See `pipeline.work.start_runner`."""

    def __call__(
        self, device: str, workers: int, threads: int | None, on_batch: Callable[[int, int], None]
    ) -> ShardRunner:
        """Build it for a device, with a number of decoders and of torch's threads; `on_batch` is a sign of life."""


@dataclass(frozen=True)
class DeviceShare:
    """One device, and its share of this machine's cores.

    Attributes:
        device: as torch names it.
        workers: processes for decoding.
        threads: of torch on a CPU; None: its own choice.
    """

    device: str
    workers: int
    threads: int | None = None


@dataclass(frozen=True)
class OneByOne:
    """A shard to work on photo by photo; photos in `broken` get its reasons."""

    shard: int
    broken: Mapping[str, str]


@dataclass(frozen=True)
class SignOfLife:
    """The process has loaded its model, done a batch, or taken up a photo of a shard one by one."""

    photo: str | None = None


@dataclass(frozen=True)
class Fault:
    """The process ends with an error."""

    error: Exception


Task: TypeAlias = int | OneByOne
Answer: TypeAlias = ShardDone | SignOfLife | Fault


@dataclass
class DeviceProcess:
    """The near end of a process with one device.

    Attributes:
        share: its device and cores.
        tasks: shards in its hands, the running one first.
        photo: the photo last taken up, one by one.
        is_ready: the model is loaded.
    """

    share: DeviceShare
    process: Any
    pipe: Connection
    tasks: list[Task] = field(default_factory=list)
    photo: str | None = None
    is_ready: bool = False

    def give(self, task: Task) -> None:
        """Hand over a task; the death of the process shows at the next answer."""
        self.tasks.append(task)
        self._send(task)

    def tell_to_stop(self) -> None:
        """Make the process end after its current batch."""
        self._send(None)

    def end(self) -> int | None:
        """Kill the process if it is still there; return its exit code."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        code: int | None = self.process.exitcode
        return code

    def _send(self, message: Task | None) -> None:
        try:
            self.pipe.send(message)
        except OSError:  # dead: its end of the pipe says so to the reader
            return


def start_device_process(start_runner: StartRunner, share: DeviceShare) -> DeviceProcess:
    """Start the process of a device."""
    near, far = _CONTEXT.Pipe()
    process = _CONTEXT.Process(
        target=serve_shards, args=(start_runner, share, far), name=f"vitrollout-{share.device}", daemon=False
    )
    process.start()
    far.close()
    return DeviceProcess(share, process, near)


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
