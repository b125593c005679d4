"""Shards for several devices, by number.

Whatever happens to a process, its shards are tried again elsewhere. That is safe at any moment: the part of a shard is
created once, whoever comes first.
"""

import logging
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from pipeline.engines.tasks import (
    Answer,
    DeviceShare,
    Died,
    Engine,
    OneByOne,
    SignOfLife,
    Task,
    Worker,
    shard_of,
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
_END_SECONDS = 10.0  # for processes without work, or with work done elsewhere
_POLL_SECONDS = 0.2


def work_with(
    engine: Engine[Worker],
    shards: Sequence[int],
    shares: Sequence[DeviceShare],
    on_done: Callable[[ShardDone], None],
    stop: Callable[[], bool],
) -> None:
    """Work on shards until all have their part, or until `stop()` returns true.

    Args:
        engine: starts a process for each share.
        shards: their numbers.
        shares: the devices, each with its cores.
        on_done: called once for each shard.
        stop: asked several times a second.

    Raises:
        VitrolloutError: a fault that meets every process, such as a full disk; or no device is left.
    """
    crew = _Crew(engine, deque(shards), on_done)
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
class _Crew(Generic[Worker]):
    """The processes, and the shards on their way."""

    engine: Engine[Worker]
    waiting: deque[int]
    on_done: Callable[[ShardDone], None]
    suspects: deque[OneByOne] = field(default_factory=deque)
    workers: list[Worker] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    tries: Counter[int | str] = field(default_factory=Counter)  # of shards, and of single photos
    begun: dict[int, float] = field(default_factory=dict)
    durations: list[float] = field(default_factory=list)

    @property
    def has_work(self) -> bool:
        """Whether a shard has no part yet."""
        in_hand = {number for worker in self.workers for number in map(shard_of, worker.tasks)}
        return bool(self.waiting or self.suspects or in_hand - self.done)

    def start(self, share: DeviceShare, failed_starts: int = 0) -> None:
        worker = self.engine.start(share)
        worker.heard, worker.failed_starts = time.monotonic(), failed_starts
        self.workers.append(worker)

    def hand_out(self) -> None:
        """Give shards to every process with a free hand."""
        for worker in self.workers:
            if not worker.is_there:
                continue
            while self.waiting and len(worker.tasks) < _IN_HAND:
                self._give(worker, self.waiting.popleft())
            if worker.tasks:
                continue
            if self.suspects:
                self._give(worker, self.suspects.popleft())
            elif (slow := self._find_slow_shard()) is not None:
                log.info("shard %d takes long: %s works on it too", slow, worker.name)
                self._give(worker, slow)

    def listen(self, seconds: float) -> None:
        """Take the answers of the next moments; replace processes that have died or fallen silent."""
        for worker, answer in self.engine.listen(self.workers, seconds):
            if worker in self.workers:
                worker.heard = time.monotonic()
                self._take_answer(worker, answer)
        silent_since = time.monotonic() - _SILENCE
        for worker in [worker for worker in self.workers if worker.tasks and worker.heard < silent_since]:
            self._replace(worker, Died(-9, f"no sign of life in {_SILENCE:.0f} s"))

    def stop_all(self) -> None:
        """Let every process finish its batch and end."""
        for worker in self.workers:
            if worker.is_ready:
                worker.send(None)
            else:
                worker.end()
        self.workers = [worker for worker in self.workers if worker.is_ready]
        end = time.monotonic() + (_STOP_SECONDS if self.has_work else _END_SECONDS)
        while self.workers and time.monotonic() < end:
            for worker, answer in self.engine.listen(self.workers, _POLL_SECONDS):
                if isinstance(answer, ShardDone):
                    self._count(answer)
                elif isinstance(answer, Died) and worker in self.workers:
                    self._remove(worker)

    def end_all(self) -> None:
        for worker in self.workers:
            worker.end()

    def _give(self, worker: Worker, task: Task) -> None:
        if not worker.tasks:
            worker.heard = time.monotonic()
        self.begun.setdefault(shard_of(task), time.monotonic())
        worker.tasks.append(task)
        worker.send(task)

    def _take_answer(self, worker: Worker, answer: Answer) -> None:
        if isinstance(answer, Died):
            self._replace(worker, answer)
            return
        worker.is_ready, worker.failed_starts = True, 0
        if isinstance(answer, SignOfLife):
            worker.photo = answer.photo or worker.photo
        elif isinstance(answer, ShardDone):
            worker.tasks = [task for task in worker.tasks if shard_of(task) != answer.shard]
            worker.photo = None
            self._count(answer)
        elif not isinstance(answer.error, DeviceLostError):
            raise answer.error
        else:
            log.warning("%s; going on without it", answer.error)
            self._take_tasks_back(worker)
            self._remove(worker)
            self._check_any_left()

    def _count(self, done: ShardDone) -> None:
        if done.shard not in self.done:
            self.done.add(done.shard)
            self.durations.append(time.monotonic() - self.begun[done.shard])
            self.on_done(done)

    def _replace(self, worker: Worker, death: Died) -> None:
        """Start another process instead of a dead one; its shards go back."""
        log.warning("the process of %s died (%s); its shards are tried again", worker.name, death.reason)
        self._take_tasks_back(worker, death)
        self._remove(worker)
        failed_starts = worker.failed_starts + (not worker.is_ready)
        if failed_starts < _MOST_STARTS:
            self.start(worker.share, failed_starts)
        else:
            log.warning("%s: its process died %d times in a row; going on without it", worker.name, _MOST_STARTS)
            self._check_any_left()

    def _remove(self, worker: Worker) -> None:
        self.workers.remove(worker)
        worker.end()

    def _take_tasks_back(self, worker: Worker, death: Died | None = None) -> None:
        """Take back the shards of a process; the running one is suspected of its death."""
        for index, task in reversed(list(enumerate(worker.tasks))):
            if shard_of(task) in self.done:
                continue
            suspected = death is not None and worker.is_ready and index == 0
            if isinstance(task, OneByOne):
                photo = worker.photo if suspected else None
                self.suspects.append(self._blame_photo(task, photo, death))
                continue
            self.tries[task] += suspected
            if self.tries[task] < _MOST_TRIES:
                self.waiting.appendleft(task)
            else:
                log.warning("shard %d ended %d processes: its photos are tried one by one", task, _MOST_TRIES)
                self.suspects.append(OneByOne(task, {}))

    def _blame_photo(self, task: OneByOne, photo: str | None, death: Died | None) -> OneByOne:
        """Mark a photo as broken if its process died on it; a machine has to be lost several times."""
        if photo is None or death is None:
            return task
        self.tries[photo] += 1
        if death.exit_code is None and self.tries[photo] < _MOST_TRIES:
            return task
        return OneByOne(task.shard, {**task.broken, photo: f"the process of the device died on it ({death.reason})"})

    def _check_any_left(self) -> None:
        if not self.workers:
            raise VitrolloutError("no device is left; everything committed stays: run again to go on")

    def _find_slow_shard(self) -> int | None:
        """Return the shard in hand for the longest time, if that is much longer than usual, and only one has it."""
        if not self.durations:
            return None
        in_hand = Counter(shard_of(task) for worker in self.workers for task in worker.tasks)
        running = [number for number, hands in in_hand.items() if hands == 1 and number not in self.done]
        slow = min(running, key=self.begun.__getitem__, default=None)
        limit = _SLOW * statistics.median(self.durations)
        return slow if slow is not None and time.monotonic() - self.begun[slow] > limit else None
