"""Several devices: the gain from a second one, and the price of Ray, with simulated devices of 5 ms a photo."""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jobs.benchmarks.simulated_device import PHOTO_SECONDS, open_simulated_run, start_simulated_device
from jobs.benchmarks.timing import Figure
from pipeline.config import RunConfig
from pipeline.engines import processes, ray_cluster
from pipeline.engines.ray_nodes import connect
from pipeline.engines.tasks import DeviceShare
from pipeline.results.open_run import OpenRun
from pipeline.work import ShardDone

_PHOTOS, _PHOTOS_WITH_RAY, _SHARD = 12_000, 10_000, 100

Drive = Callable[[OpenRun, Callable[[ShardDone], None]], None]


@dataclass(frozen=True)
class _Timing:
    """Seconds of a whole run, and photos a second between its first part and its last."""

    seconds: float
    rate: float


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure one device and two, once each (a minute and a half); and Ray, if it is installed."""
    one, two = (_time_run(folder / f"devices-{count}", _PHOTOS, partial(_drive_here, count)) for count in (1, 2))
    figures = [
        Figure(
            f"2 devices / 1, {1000 * PHOTO_SECONDS:g} ms a photo, in steady state", two.rate / one.rate, 1.8,
            at_most=False,
            detail=f"{one.rate:.1f} and {two.rate:.1f} photos/s; whole runs {one.seconds:.1f} and {two.seconds:.1f} s",
        )
    ]  # fmt: skip
    if importlib.util.find_spec("ray") is not None:
        figures.append(_measure_ray(folder))
    return figures


def _measure_ray(folder: Path) -> Figure:
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    here = _time_run(folder / "processes", _PHOTOS_WITH_RAY, partial(_drive_here, 2))
    on_ray = _time_run(folder / "ray", _PHOTOS_WITH_RAY, partial(_drive_on_ray, folder))
    ray.shutdown()
    return Figure(
        f"Ray / plain processes, 2 devices, {_PHOTOS_WITH_RAY:,} photos", on_ray.seconds / here.seconds, 1.1,
        detail=f"{here.seconds:.1f} s and {on_ray.seconds:.1f} s; {here.rate:.1f} and {on_ray.rate:.1f} photos/s",
    )  # fmt: skip


def _time_run(out: Path, photos: int, drive: Drive) -> _Timing:
    run = open_simulated_run(out, photos, _SHARD)
    moments: list[float] = []
    started = time.perf_counter()
    drive(run, lambda done: moments.append(time.perf_counter()))
    seconds = time.perf_counter() - started
    return _Timing(seconds, _SHARD * (len(moments) - 1) / (moments[-1] - moments[0]))


def _drive_here(count: int, run: OpenRun, on_done: Callable[[ShardDone], None]) -> None:
    shares = [DeviceShare("cpu", 1)] * count
    processes.drive(partial(start_simulated_device, run), run.missing(), shares, on_done, lambda: False)


def _drive_on_ray(folder: Path, run: OpenRun, on_done: Callable[[ShardDone], None]) -> None:
    devices = connect(RunConfig(input=run.out / "table", out=folder / "ray", engine="ray", devices=2, device="cpu"))
    ray_cluster.drive(partial(start_simulated_device, run), run.missing(), devices, on_done, lambda: False)
