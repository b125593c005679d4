"""The command `vitrollout` in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection

import jobs.cli
from tests.helpers.fork_server import FORK_SERVER

FRESH_COMMAND = [sys.executable, "-m", "jobs.cli"]


class VitrolloutProcess:
    """A running `vitrollout`, leader of a process group of its own; used as a `subprocess.Popen`.

    Attributes:
        arguments: of the command.
        pid: process id.
        stdout: text stream of its output.
        stderr: text stream of its log and messages.
    """

    def __init__(self, *arguments, environment: Mapping[str, str] | None = None) -> None:
        self.arguments = list(map(str, arguments))
        receivers, senders = zip(*(FORK_SERVER.Pipe(duplex=False) for _ in range(2)), strict=True)
        self._process = FORK_SERVER.Process(
            target=_become_vitrollout, args=(self.arguments, dict(environment or {}), *senders)
        )
        self._process.start()
        self.pid = self._process.pid
        for sender in senders:
            sender.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(receiver.fileno()), encoding="utf-8") for receiver in receivers)
        for receiver in receivers:
            receiver.close()

    @property
    def returncode(self) -> int | None:
        """Exit code; the negative number of the signal that killed it; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to this process, not to its group."""
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, `timeout` seconds at most, and return the exit code."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout)
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """Wait for the end; return what it wrote to stdout, and to stderr."""
        with self.stdout, self.stderr:
            stderr = self.stderr.read()  # a command's output is a few lines, so its pipe never fills up meanwhile
            stdout = self.stdout.read()
        self.wait()
        return stdout, stderr


def _become_vitrollout(
    arguments: list[str], environment: dict[str, str], stdout: Connection, stderr: Connection
) -> None:
    """Run the command in this process."""
    os.setsid()
    os.environ.update(environment)  # that of the server is older
    os.dup2(stdout.fileno(), 1)
    os.dup2(stderr.fileno(), 2)
    stdout.close()
    stderr.close()
    sys.argv = ["vitrollout", *arguments]
    jobs.cli.main()


def start_vitrollout(*arguments, environment: Mapping[str, str] | None = None) -> VitrolloutProcess:
    """Start `vitrollout` with these arguments, and these variables beside those of the environment."""
    return VitrolloutProcess(*arguments, environment=environment)


def run_vitrollout(*arguments, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `vitrollout` with these arguments and wait for its end."""
    process = start_vitrollout(*arguments, environment=environment)
    stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.arguments, process.returncode, stdout, stderr)


def run_fresh_vitrollout(*arguments, **options) -> subprocess.CompletedProcess[str]:
    """Do so in a new Python, imports and all; `options` are those of `subprocess.run`."""
    command = [*FRESH_COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)
