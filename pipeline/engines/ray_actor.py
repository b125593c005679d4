"""The process of one device on a node of a Ray cluster, and the actor in front of it.

A fork in an actor may hang beside threads of Ray, and the runner forks decoders. So the actor starts the process used
on one machine too, spawned, and only passes messages on. The process ends with its actor.
"""

import platform

from pipeline.engines.device_process import start_device_process
from pipeline.engines.tasks import Answer, DeviceShare, Died, SignOfLife, StartRunner, Task


class DeviceActor:
    """Holds the process of one device."""

    def __init__(self, start_runner: StartRunner, share: DeviceShare) -> None:
        """Start the process."""
        self._process = start_device_process(start_runner, share)

    def give(self, message: Task | None) -> None:
        """Pass a task on; None: end after the current batch."""
        self._process.send(message)

    def receive(self, seconds: float) -> tuple[str, list[Answer]]:
        """Return the name of this machine and, after a wait, answers; of signs of life only the last one counts."""
        answers: list[Answer] = []
        while self._process.pipe.poll(0 if answers else seconds):
            answer = self._process.receive()
            if answers and isinstance(answer, SignOfLife) and isinstance(answers[-1], SignOfLife):
                answers.pop()
            answers.append(answer)
            if isinstance(answer, Died):
                break
        return platform.node(), answers
