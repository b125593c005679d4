"""Messages to the workers: tasks, and the names of photos that nobody needs any more."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from pipeline.photos.load_tasks import DropTask, Task
from pipeline.photos.team import Seat
from pipeline.photos.worker_process import WorkerDiedError, WorkerTimeoutError


class Messenger:
    """Sends tasks to workers."""

    def __init__(self, workers: int, seconds: float) -> None:
        """Set up.

        Args:
            workers: their number.
            seconds: time limit of a task.
        """
        self.seconds = seconds
        self._dropped: list[deque[tuple[int, int]]] = [deque() for _ in range(workers)]

    def drop(self, seat: int, generation: int, ticket: int) -> None:
        """Let the worker forget a photo, before its next task."""
        self._dropped[seat].append((generation, ticket))

    def run(self, seat: Seat[Task, Any], tasks: Sequence[Task]) -> list[Any]:
        """Run tasks with the worker of a place.

        Raises:
            WorkerDiedError, WorkerTimeoutError: as of `Worker.run_all`.
            Exception: of a task.
        """
        dropped = self._dropped[seat.number]
        tickets = [dropped.popleft() for _ in range(len(dropped))]
        forgotten = tuple(ticket for generation, ticket in tickets if generation == seat.worker.generation)
        before: list[Task] = [DropTask(forgotten)] if forgotten else []
        try:
            return seat.worker.run_all([*before, *tasks], seconds=self.seconds)[len(before) :]
        except (WorkerDiedError, WorkerTimeoutError) as error:
            error.done = max(0, error.done - len(before))
            raise
