"""Shards for the devices of one machine: a process a device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from pipeline.engines.crew import work_with
from pipeline.engines.device_process import DeviceProcess, start_device_process
from pipeline.engines.tasks import Answer, DeviceShare, StartRunner
from pipeline.work import ShardDone


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
    work_with(_Processes(start_runner), shards, shares, on_done, stop)


@dataclass(frozen=True)
class _Processes:
    """The engine of this machine."""

    start_runner: StartRunner

    def start(self, share: DeviceShare) -> DeviceProcess:
        return start_device_process(self.start_runner, share)

    def listen(self, workers: list[DeviceProcess], seconds: float) -> list[tuple[DeviceProcess, Answer]]:
        by_pipe: dict[object, DeviceProcess] = {worker.pipe: worker for worker in workers}
        pipes: list[Connection] = [worker.pipe for worker in workers]
        return [(by_pipe[pipe], by_pipe[pipe].receive()) for pipe in wait(pipes, seconds)]


def share_cores(devices: Sequence[str], cores: int, workers: int | None) -> list[DeviceShare]:
    """Share the cores of this machine among its devices.

    Args:
        devices: as torch names them; a CPU may stand there several times.
        cores: number of cores.
        workers: processes for decoding a device; None: by cores.
    """
    share = max(1, cores // len(devices))
    return [DeviceShare(device, workers or share, share if device.startswith("cpu") else None) for device in devices]
