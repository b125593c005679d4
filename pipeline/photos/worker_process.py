"""A worker process whose crash or hang costs only the task it was running.

Each worker has a pipe of its own, so the task behind its death is always known. Pools with one pipe for all workers
(pebble, concurrent.futures) can lose track of it if a worker dies early, and give up as a whole.
"""

import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from pipeline.freed_memory import keep_freed_memory

Task = TypeVar("Task")
Result = TypeVar("Result")

# Forked on Linux, as torch's DataLoader does: a worker starts at once with transformers imported, and scripts
# calling `pipeline.run` need no `if __name__ == "__main__"`.
_CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")

# Not SIGBUS: a mapped file can't be read, or has been cut short meanwhile.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS)

_KEPT_BYTES = 2**27  # the buffers of a photo of some 24 megapixels: the next one needs as much

# Held while a process starts or ends. Two processes forked at once would hold each other's pipe open and survive a
# killed main process; and multiprocessing loses exit codes if two threads wait for processes at once.
_one_at_a_time = threading.Lock()


class WorkerDiedError(Exception):
    """The process ended in the middle of a task.

    Attributes:
        done: number of tasks before that one.
        exit_code: as of `Process.exitcode`.
        blames_task: the task ended it by a crash or an exit; otherwise somebody killed it, as the system does for
            want of memory, or a failing disk did.
    """

    def __init__(self, exit_code: int | None, done: int = 0) -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code, self.done = exit_code, done
        self.blames_task = exit_code is not None and (exit_code > 0 or -exit_code in _CRASHES)


class WorkerTimeoutError(Exception):
    """A task exceeded its timeout; its process was killed.

    Attributes:
        done: number of tasks before that one.
    """

    def __init__(self, done: int = 0) -> None:
        super().__init__("out of time")
        self.done = done


class Worker(Generic[Task, Result]):
    """A process for one function, task after task; replaced after its death.

    Not thread-safe, except `stop`.

    Attributes:
        generation: number of the process; what an earlier one kept is lost.
    """

    def __init__(self, function: Callable[[Task], Result]) -> None:
        """Start the process.

        Args:
            function: run for each task. Tasks and results are pickled.
        """
        self._function = function
        self._stopped = False
        self.generation = 0
        with _one_at_a_time:
            self._start_process()

    def run(self, task: Task, *, seconds: float) -> Result:
        """Run one task; arguments and errors as of `run_all`."""
        return self.run_all((task,), seconds=seconds)[0]

    def run_all(self, tasks: Sequence[Task], *, seconds: float) -> list[Result]:
        """Run tasks one after the other, sent and answered together: a message takes longer than many a task.

        Args:
            tasks: in their order.
            seconds: for each.

        Raises:
            WorkerDiedError: the process ended, by itself or through `stop`.
            WorkerTimeoutError: a task took longer than `seconds`.
            Exception: the first exception of the function; the tasks after it are not run.
        """
        self._done.value = 0  # also if the process has died meanwhile
        try:
            self._pipe.send((tasks, seconds))
            answer = self._pipe.recv() if self._has_answered(seconds) else None
        except (EOFError, OSError):
            done = self._done.value
            raise WorkerDiedError(self._replace_process(), done) from None
        if answer is None:
            done = self._done.value
            self._replace_process()
            raise WorkerTimeoutError(done)
        results: list[Result]
        results, error = answer
        if error is not None:
            raise error
        return results

    def stop(self) -> None:
        """End the process at once; from any thread."""
        with _one_at_a_time:
            self._stopped = True
            self._process.kill()
            self._process.join()

    def _has_answered(self, seconds: float) -> bool:
        """Wait for an answer, up to `seconds` for each task.

        A second at a time: a suspended machine or a stopped program loses only one second.
        """
        done, left = 0, seconds
        while left > 0:
            step = min(1.0, left)
            if self._pipe.poll(step):
                return True
            left -= step
            if self._done.value != done:
                done, left = self._done.value, seconds
        return False

    def _start_process(self) -> None:
        self._pipe: Connection
        self._pipe, far_end = _CONTEXT.Pipe()
        self._done = _CONTEXT.RawValue("Q", 0)  # tasks done of those sent last, told by the process
        self._process: BaseProcess = _CONTEXT.Process(
            target=_serve_tasks,
            args=(self._function, far_end, self._pipe, self._done),
            name="vitrollout-worker",
            daemon=True,
        )
        self._process.start()
        far_end.close()

    def _replace_process(self) -> int | None:
        """Start another process instead of this one; return the exit code of the old one."""
        with _one_at_a_time:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            exit_code = self._process.exitcode
            self.generation += 1
            if not self._stopped:
                self._start_process()
        return exit_code


def _serve_tasks(function: Callable[[Task], Result], pipe: Connection, near_end: Connection, done: Any) -> None:
    """Run tasks in the worker until the other end of the pipe is closed, also by the death of the main process."""
    near_end.close()  # the copy from the fork
    keep_freed_memory(_KEPT_BYTES)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the main one decides
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    try:
        while True:
            tasks, seconds = pipe.recv()
            results: list[Any] = []
            error: Exception | None = None
            try:
                for task in tasks:
                    # The parent kills a worker that exceeds its timeout. The alarm covers a killed parent.
                    signal.setitimer(signal.ITIMER_REAL, 2 * seconds)
                    results.append(function(task))
                    done.value += 1
            except Exception as raised:
                error = raised
                error.add_note("".join(traceback.format_tb(error.__traceback__)))  # a traceback can't be pickled
            signal.setitimer(signal.ITIMER_REAL, 0)
            pipe.send((results, error))
    except (EOFError, OSError):
        return
