"""Shards for the devices of one machine: a process a device, handed shards by number.

Whatever happens to a process, its shards are tried again elsewhere. That is safe at any moment: the part of a shard is
created once, whoever comes first.
"""

import logging
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from pipeline.engines.device_process import (
    DeviceProcess,
    DeviceShare,
    Fault,
    OneByOne,
    SignOfLife,
    StartRunner,
    Task,
    start_device_process,
)
from pipeline.errors import DeviceLostError, VitrolloutError
from pipeline.work import ShardDone

log = logging.getLogger(__name__)

_IN_HAND = 2  # shards of a process: one at the model, one being decoded
_MOST_TRIES = 4  # of a shard, before its photos are tried one by one
_MOST_STARTS = 3  # of a process, in a row, without a sign of life
_SLOW = 3.0  # a shard open this many times longer than usual is given to a second device
_SILENCE = 1800.0  # seconds without a sign of life, after which a process is killed
_STOP_SECONDS = 300.0  # to finish a batch
_POLL_SECONDS = 0.2


def drive(
    start_runner: StartRunner,
    shards: Sequence[int],
    shares: Sequence[DeviceShare],
    on_done: Callable[[ShardDone], None],
    stop: Callable[[], bool],
) -> None:
    """Work on shards until all have their part, or until `stop()` returns true.

    Args:
        start_runner: builds the runner of a device in its process.
        shards: their numbers.
        shares: the devices, each with its cores.
        on_done: called once for each shard.
        stop: asked several times a second.

    Raises:
        VitrolloutError: a fault that meets every process, such as a full disk; or no device is left.
    """
    crew = _Crew(start_runner, deque(shards), on_done)
    try:
        for share in shares:
            crew.start(share)
        while crew.has_work and not stop():
            crew.hand_out()
            crew.listen(_POLL_SECONDS)
        crew.stop_all()
    finally:
        crew.end_all()


@dataclass
class _Crew:
    """The processes, and the shards on their way."""

    start_runner: StartRunner
    waiting: deque[int]
    on_done: Callable[[ShardDone], None]
    suspects: deque[OneByOne] = field(default_factory=deque)
    processes: dict[Connection, DeviceProcess] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    tries: Counter[int] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)
    heard: dict[Connection, float] = field(default_factory=dict)
    begun: dict[int, float] = field(default_factory=dict)
    durations: list[float] = field(default_factory=list)

    @property
    def has_work(self) -> bool:
        """Whether a shard has no part yet."""
        in_hand = {number for process in self.processes.values() for number in map(shard_of, process.tasks)}
        return bool(self.waiting or self.suspects or in_hand - self.done)

    def start(self, share: DeviceShare) -> None:
        process = start_device_process(self.start_runner, share)
        self.processes[process.pipe] = process
        self.heard[process.pipe] = time.monotonic()

    def hand_out(self) -> None:
        """Give shards to every process with a free hand."""
        for process in self.processes.values():
            while self.waiting and len(process.tasks) < _IN_HAND:
                self._give(process, self.waiting.popleft())
            if process.tasks:
                continue
            if self.suspects:
                self._give(process, self.suspects.popleft())
            elif (slow := self._find_slow_shard()) is not None:
                log.info("shard %d takes long: %s works on it too", slow, process.share.device)
                self._give(process, slow)

    def listen(self, seconds: float) -> None:
        """Take the answers of the next moments; replace processes that have died or fallen silent."""
        for pipe in wait(list(self.processes), seconds):
            assert isinstance(pipe, Connection)
            process = self.processes[pipe]
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                self._replace(process)
                continue
            self.heard[pipe] = time.monotonic()
            self._take_answer(process, answer)
        silent_since = time.monotonic() - _SILENCE
        for process in [process for pipe, process in self.processes.items() if self.heard[pipe] < silent_since]:
            if process.tasks:
                log.warning("%s: no sign of life in %.0f s", process.share.device, _SILENCE)
                self._replace(process)

    def stop_all(self) -> None:
        """Let every process finish its batch and end."""
        for process in self.processes.values():
            process.tell_to_stop()
        end = time.monotonic() + _STOP_SECONDS
        while self.processes and time.monotonic() < end:
            for pipe in wait(list(self.processes), _POLL_SECONDS):
                assert isinstance(pipe, Connection)
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    self.processes.pop(pipe).end()
                    continue
                if isinstance(answer, ShardDone):
                    self._count(answer)

    def end_all(self) -> None:
        for process in self.processes.values():
            process.end()

    def _give(self, process: DeviceProcess, task: Task) -> None:
        self.heard[process.pipe] = time.monotonic() if not process.tasks else self.heard[process.pipe]
        self.begun.setdefault(shard_of(task), time.monotonic())
        process.give(task)

    def _take_answer(self, process: DeviceProcess, answer: object) -> None:
        self.starts[process.share.device] = 0
        process.is_ready = True
        if isinstance(answer, SignOfLife):
            process.photo = answer.photo or process.photo
        elif isinstance(answer, ShardDone):
            process.tasks = [task for task in process.tasks if shard_of(task) != answer.shard]
            process.photo = None
            self._count(answer)
        elif isinstance(answer, Fault):
            if not isinstance(answer.error, DeviceLostError):
                raise answer.error
            log.warning("%s; going on without it", answer.error)
            self._remove(process)
            self._check_any_left()

    def _count(self, done: ShardDone) -> None:
        if done.shard not in self.done:
            self.done.add(done.shard)
            self.durations.append(time.monotonic() - self.begun[done.shard])
            self.on_done(done)

    def _replace(self, process: DeviceProcess) -> None:
        """Start another process instead of a dead one; its shards go back."""
        share = process.share
        exit_code = self._remove(process, blame=process.is_ready)
        self.starts[share.device] += 1
        log.warning("the process of %s died (exit code %s); its shards are tried again", share.device, exit_code)
        if self.starts[share.device] < _MOST_STARTS:
            self.start(share)
        else:
            log.warning("%s: its process died %d times in a row; going on without it", share.device, _MOST_STARTS)
            self._check_any_left()

    def _remove(self, process: DeviceProcess, *, blame: bool = False) -> int | None:
        """End a process and take its shards back; with `blame`, the running one is suspected of its death."""
        del self.processes[process.pipe]
        exit_code = process.end()
        for index, task in reversed(list(enumerate(process.tasks))):
            if shard_of(task) not in self.done:
                self._take_back(process, task, blame=blame and index == 0, exit_code=exit_code)
        return exit_code

    def _take_back(self, process: DeviceProcess, task: Task, *, blame: bool, exit_code: int | None) -> None:
        if isinstance(task, OneByOne):
            broken = dict(task.broken)
            if blame and process.photo is not None:
                broken[process.photo] = f"the process of the device died on it (exit code {exit_code})"
            self.suspects.append(OneByOne(task.shard, broken))
            return
        self.tries[task] += blame
        if self.tries[task] < _MOST_TRIES:
            self.waiting.appendleft(task)
        else:
            log.warning("shard %d ended %d processes: its photos are tried one by one", task, _MOST_TRIES)
            self.suspects.append(OneByOne(task, {}))

    def _check_any_left(self) -> None:
        if not self.processes:
            raise VitrolloutError("no device is left; everything committed stays: run again to go on")

    def _find_slow_shard(self) -> int | None:
        """Return the shard in hand for the longest time, if that is much longer than usual, and only one has it."""
        if not self.durations:
            return None
        in_hand = Counter(shard_of(task) for process in self.processes.values() for task in process.tasks)
        running = [number for number, hands in in_hand.items() if hands == 1 and number not in self.done]
        slow = min(running, key=self.begun.__getitem__, default=None)
        limit = _SLOW * statistics.median(self.durations)
        return slow if slow is not None and time.monotonic() - self.begun[slow] > limit else None


def shard_of(task: Task) -> int:
    """Return the number of the shard of a task."""
    return task.shard if isinstance(task, OneByOne) else task


def share_cores(devices: Sequence[str], cores: int, workers: int | None) -> list[DeviceShare]:
    """Share the cores of this machine among its devices.

    Args:
        devices: as torch names them; a CPU may stand there several times.
        cores: number of cores.
        workers: processes for decoding a device; None: by cores.
    """
    share = max(1, cores // len(devices))
    return [DeviceShare(device, workers or share, share if device.startswith("cpu") else None) for device in devices]
