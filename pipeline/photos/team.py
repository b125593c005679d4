"""Several worker processes: jobs for any of them, and jobs for the one that keeps something from an earlier job."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any, Generic, TypeVar

from pipeline.photos.worker_process import Result as Answer
from pipeline.photos.worker_process import Task, Worker

Result = TypeVar("Result")


@dataclass(frozen=True)
class Seat(Generic[Task, Answer]):
    """A place in the team: one worker at a time, replaced after its death.

    Attributes:
        number: of the place.
        worker: its worker.
    """

    number: int
    worker: Worker[Task, Answer]


@dataclass(frozen=True)
class _Job:
    """Something to do with a worker, and the place of its result."""

    work: Callable[[Seat[Any, Any]], Any]
    future: Future[Any]


class WorkerTeam(Generic[Task, Answer]):
    """Runs jobs with workers, one thread each. A job for one worker goes before those for any."""

    def __init__(self, function: Callable[[Task], Answer], count: int) -> None:
        """Start the workers.

        Args:
            function: as of `Worker`.
            count: of workers.
        """
        self._seats = [Seat[Task, Answer](number, Worker(function)) for number in range(count)]
        self._common: deque[_Job] = deque()
        self._own: list[deque[_Job]] = [deque() for _ in self._seats]
        self._changed = Condition()
        self._closed = False
        self._threads = [Thread(target=self._serve, args=(seat,), daemon=True) for seat in self._seats]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        """Number of workers."""
        return len(self._seats)

    def submit(
        self, work: Callable[[Seat[Task, Answer]], Result], *, only: int | None = None, first: bool = False
    ) -> Future[Result]:
        """Queue a job.

        Args:
            work: called in the thread of a worker, with its place.
            only: number of the place to work at; None: any.
            first: before all other jobs for any place.
        """
        job = _Job(work, Future())
        with self._changed:
            if self._closed:
                job.future.cancel()
                return job.future
            if only is not None:
                self._own[only].append(job)
                self._changed.notify_all()
            else:
                (self._common.appendleft if first else self._common.append)(job)
                self._changed.notify()
        return job.future

    def close(self) -> None:
        """End all workers at once; jobs not yet begun are cancelled."""
        with self._changed:
            self._closed = True
            rest = [*self._common, *(job for jobs in self._own for job in jobs)]
            self._changed.notify_all()
        for job in rest:
            job.future.cancel()
        for seat in self._seats:
            seat.worker.stop()
        for thread in self._threads:
            thread.join()

    def _serve(self, seat: Seat[Task, Answer]) -> None:
        while (job := self._take(seat.number)) is not None:
            if job.future.set_running_or_notify_cancel():
                try:
                    job.future.set_result(job.work(seat))
                except BaseException as error:
                    job.future.set_exception(error)
            del job  # the next one may be long in coming, and this one's result large

    def _take(self, number: int) -> _Job | None:
        """Wait for a job; None after the end."""
        own = self._own[number]
        with self._changed:
            while not self._closed:
                if own:
                    return own.popleft()
                if self._common:
                    return self._common.popleft()
                self._changed.wait()
        return None
