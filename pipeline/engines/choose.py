"""The settings `engine`, `device` and `devices` -> the devices of a run, and the way to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from pipeline.config import RunConfig
from pipeline.cores import available_cores
from pipeline.engines import processes, ray_cluster
from pipeline.engines.devices import list_devices
from pipeline.engines.job import Job, start_runner
from pipeline.engines.ray_connection import keep_connected
from pipeline.engines.ray_nodes import RayDevices, check_nodes, connect
from pipeline.engines.tasks import DeviceShare
from pipeline.model.device import choose_device
from pipeline.results.open_run import PROCESSES, RAY
from pipeline.work import ShardDone


class Devices(Protocol):
    """Several devices, with a process each."""

    @property
    def engine(self) -> str:
        """The word for it in the record of the run."""

    @property
    def are_here(self) -> bool:
        """Whether this machine has them."""

    def drive(
        self, job: Job, shards: Sequence[int], on_done: Callable[[ShardDone], None], stop: Callable[[], bool]
    ) -> None:
        """Work on shards until all have their part, or until `stop()` returns true; raises as `processes.drive`."""


@dataclass(frozen=True)
class LocalDevices:
    """Devices of this machine."""

    shares: tuple[DeviceShare, ...]
    engine: str = PROCESSES
    are_here: bool = True

    def drive(
        self, job: Job, shards: Sequence[int], on_done: Callable[[ShardDone], None], stop: Callable[[], bool]
    ) -> None:
        """Work on shards until all have their part, or until `stop()` returns true; raises as `processes.drive`."""
        processes.drive(partial(start_runner, job), shards, self.shares, on_done, stop)


@dataclass(frozen=True)
class ClusterDevices:
    """Devices of a Ray cluster."""

    found: RayDevices
    engine: str = RAY
    are_here: bool = False

    def drive(
        self, job: Job, shards: Sequence[int], on_done: Callable[[ShardDone], None], stop: Callable[[], bool]
    ) -> None:
        """Work on shards until all have their part, or until `stop()` returns true; raises as `ray_cluster.drive`."""
        with keep_connected(self.found.address):
            check_nodes(self.found, job)
            ray_cluster.drive(partial(start_runner, job), shards, self.found, on_done, stop)


def choose_devices(config: RunConfig) -> Devices | None:
    """Return the devices of a run; None: one of this machine, in this process.

    Raises:
        ConfigError: they are not there, or the cluster can't be reached.
    """
    if config.engine == "ray":
        return ClusterDevices(connect(config))
    return None if config.devices is None else share_machine(config)


def share_machine(config: RunConfig) -> LocalDevices:
    """Share the cores of this machine among the devices of the settings, one if they don't say how many.

    Raises:
        ConfigError: this machine hasn't got them.
    """
    several = config.devices
    names = [choose_device(config.device)] if several is None else list_devices(config.device, several)
    workers = None if config.workers == "auto" else config.workers
    return LocalDevices(tuple(processes.share_cores(names, available_cores(), workers)))


def settle_precision(config: RunConfig, devices: Devices | None) -> RunConfig:
    """Put the kind and the precision of a cluster's devices in the place of `auto`: each node would choose its own."""
    if not isinstance(devices, ClusterDevices):
        return config
    return config.model_copy(update={"device": devices.found.device, "precision": devices.found.precision})
