"""Shards for the devices of a Ray cluster: an actor a device.

Ray places the actors and tells of their deaths; shards are handed out here, by number, as to the processes of one
machine. A worker may outlive the death of its node, as Ray sees it, by seconds: its part comes first or is refused.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.engines.crew import work_with
from pipeline.engines.ray_actor import DeviceActor
from pipeline.engines.ray_nodes import RayDevices
from pipeline.engines.tasks import Answer, DeviceShare, DeviceWorker, Died, Fault, StartRunner, Task
from pipeline.errors import VitrolloutError, one_line
from pipeline.work import ShardDone

log = logging.getLogger(__name__)

_RECEIVE_SECONDS = 2.0  # of one call to an actor
_WAITING_SECONDS = 60.0  # for a first place on the cluster, between two lines in the log


def drive(
    start_runner: StartRunner,
    shards: Sequence[int],
    devices: RayDevices,
    on_done: Callable[[ShardDone], None],
    stop: Callable[[], bool],
) -> None:
    """Work on shards until all have their part, or until `stop()` returns true.

    Args:
        start_runner: builds the runner of a device in its process.
        shards: their numbers.
        devices: of the cluster, see `ray_nodes.connect`.
        on_done: called once for each shard.
        stop: asked several times a second.

    Raises:
        VitrolloutError: a fault that meets every process, with the name of its node; or no device is left.
    """
    share = DeviceShare(devices.device, devices.workers, devices.cpus if devices.device == "cpu" else None)
    work_with(_Actors(start_runner, devices), shards, [share] * devices.count, on_done, stop)


@dataclass(eq=False)
class _ActorWorker(DeviceWorker):
    """An actor, with the call that waits for its next answers."""

    actor: Any
    call: Any
    node: str | None = field(default=None, kw_only=True)

    def send(self, message: Task | None) -> None:
        self.actor.give.remote(message)

    def end(self) -> None:
        import ray

        ray.kill(self.actor)


@dataclass
class _Actors:
    """The engine of a Ray cluster."""

    start_runner: StartRunner
    devices: RayDevices
    had_room: float = field(default_factory=time.monotonic)

    def start(self, share: DeviceShare) -> _ActorWorker:
        """Ask for an actor; it waits until the cluster has room, which may be after a lost node has come back."""
        import ray

        actor = (
            ray.remote(DeviceActor)
            .options(
                num_cpus=self.devices.cpus,
                num_gpus=1 if share.device == "cuda" else 0,
                max_restarts=0,  # a new actor instead, with its shards handed out again
                max_concurrency=2,  # takes shards while it waits for answers
                scheduling_strategy="SPREAD",
            )
            .remote(self.start_runner, share)
        )
        return _ActorWorker(share, f"{share.device} on a node of the cluster", actor, _call(actor), is_there=False)

    def listen(self, workers: list[_ActorWorker], seconds: float) -> list[tuple[_ActorWorker, Answer]]:
        import ray

        self._warn_without_room(workers)
        by_call = {worker.call: worker for worker in workers}
        if not by_call:
            return []
        ray.wait(list(by_call), num_returns=1, timeout=seconds)
        ready, _ = ray.wait(list(by_call), num_returns=len(by_call), timeout=0)
        return [(by_call[call], answer) for call in ready for answer in self._receive(by_call[call])]

    def _warn_without_room(self, workers: list[_ActorWorker]) -> None:
        now = time.monotonic()
        if any(worker.is_there for worker in workers):
            self.had_room = now
        elif now - self.had_room > _WAITING_SECONDS:
            self.had_room = now
            log.warning("the Ray cluster has had no room for a device in %.0f s; see: ray status", _WAITING_SECONDS)

    def _receive(self, worker: _ActorWorker) -> list[Answer]:
        import ray

        try:
            node, answers = ray.get(worker.call)
        except ray.exceptions.RayActorError as error:
            return [Died(None, f"its actor is lost: {_first_line(error)}")]
        except ray.exceptions.RayError as error:
            return [Fault(VitrolloutError(f"a fault in an actor: {one_line(error)}"))]
        if worker.node is None:
            worker.is_there, worker.node, worker.name = True, node, f"{worker.share.device} on {node}"
        worker.call = _call(worker.actor)
        return [_name_node(answer, node) for answer in answers]


def _call(actor: Any) -> Any:
    return actor.receive.remote(_RECEIVE_SECONDS)


def _name_node(answer: Answer, node: str) -> Answer:
    """Put the name of the node before the text of a fault."""
    if not isinstance(answer, Fault):
        return answer
    problem = f"node {node}: {answer.error}"
    kind = type(answer.error)
    return Fault(kind(problem) if issubclass(kind, VitrolloutError) else VitrolloutError(problem))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
