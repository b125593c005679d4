"""One worker process that may crash or hang and then takes along nothing but the task that it was at.

Each worker has a pipe of its own, so it is always known which task it died of. Pools whose workers share one
(pebble, concurrent.futures) can lose track of that when a worker dies early, and give up as a whole.
"""

import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

# Forked on Linux, as torch's DataLoader does: a worker starts at once with transformers imported, and scripts
# that call `pipeline.run` need no `if __name__ == "__main__"`.
_CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")

# Held while a process starts or ends. Two that were forked at once would hold each other's pipe open, and outlive
# a main process that is killed; and multiprocessing loses exit codes where two threads wait for processes at once.
_one_at_a_time = threading.Lock()


class WorkerDiedError(Exception):
    """The process ended in the middle of a task."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code = exit_code


class WorkerTimeoutError(Exception):
    """A task took too long; its process was killed."""


class Worker(Generic[Task, Result]):
    """A process that runs a function on one task after the other, and is replaced when it dies.

    For one thread at a time, but for `stop`.
    """

    def __init__(self, function: Callable[[Task], Result]) -> None:
        """Args: what to run. Tasks and results are pickled."""
        self._function = function
        self._stopped = False
        with _one_at_a_time:
            self._start()

    def run(self, task: Task, *, seconds: float) -> Result:
        """Run one task.

        Raises:
            WorkerDiedError: its process ended, of itself or by `stop`.
            WorkerTimeoutError: it took longer than `seconds`.
            Exception: whatever the function raised.
        """
        try:
            self._pipe.send((task, seconds))
            answer = self._pipe.recv() if self._has_answered(seconds) else None
        except (EOFError, OSError):
            raise WorkerDiedError(self._replace()) from None
        if answer is None:
            self._replace()
            raise WorkerTimeoutError
        result: Result
        result, error = answer
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """End the process, whatever it is doing; from any thread."""
        with _one_at_a_time:
            self._stopped = True
            self._process.kill()
            self._process.join()

    def _has_answered(self, seconds: float) -> bool:
        """Wait for an answer, a second at a time: a machine that sleeps or a program that is stopped loses only one."""
        whole, rest = divmod(seconds, 1)
        return any(self._pipe.poll(1) for _ in range(int(whole))) or self._pipe.poll(rest)

    def _start(self) -> None:
        self._pipe: Connection
        self._pipe, far_end = _CONTEXT.Pipe()
        self._process: BaseProcess = _CONTEXT.Process(
            target=_serve, args=(self._function, far_end, self._pipe), name="vitrollout-worker", daemon=True
        )
        self._process.start()
        far_end.close()

    def _replace(self) -> int | None:
        """End the process, if it has not ended itself, and start another; the exit code of the old one."""
        with _one_at_a_time:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            exit_code = self._process.exitcode
            if not self._stopped:
                self._start()
        return exit_code


def _serve(function: Callable[[Task], Result], pipe: Connection, near_end: Connection) -> None:
    """The worker's side: tasks until the pipe's other end is closed, be it because the main process was killed."""
    near_end.close()  # the copy that came with the fork
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process; the main one decides
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    try:
        while True:
            task, seconds = pipe.recv()
            # Whoever asked kills a worker that takes too long; this ends it where they were killed themselves.
            signal.setitimer(signal.ITIMER_REAL, 2 * seconds)
            answer: tuple[Any, Exception | None]
            try:
                answer = (function(task), None)
            except Exception as error:
                error.add_note("".join(traceback.format_tb(error.__traceback__)))  # tracebacks can't be pickled
                answer = (None, error)
            signal.setitimer(signal.ITIMER_REAL, 0)
            pipe.send(answer)
    except (EOFError, OSError):
        return
