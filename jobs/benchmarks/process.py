"""The main process beside a device of no time at all: its processor time a photo, and the rate that it allows.

Times of whole runs over few and over many photos are compared, so that start and end of a run drop out.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from jobs.benchmarks.materials import VIT_B_16, link_photo, save_checkpoint
from jobs.benchmarks.timing import Figure
from jobs.benchmarks.watched_device import SimulatedDevice, WatchedDevice
from pipeline.config import RunConfig
from pipeline.model import load
from pipeline.photos.discover import discover
from pipeline.photos.loader import PhotoLoader
from pipeline.run import run

_SMALL, _LARGE = (300, 300), (4000, 3000)
_BATCH = 32


@dataclass(frozen=True)
class _Cost:
    """Milliseconds a photo: processor time of the main process and of the workers, and of the clock."""

    main: float
    workers: float
    wall: float


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure the main process with photos of two sizes, and a device of 1 ms a photo with one worker and two."""
    checkpoint = save_checkpoint(replace(VIT_B_16, name="one-layer", layers=1), folder)
    cost = partial(_measure_cost, folder, checkpoint)
    _time_run(folder, checkpoint, _SMALL, 10, overlays="all")  # imports, and a first look at everything
    small, drawn = cost(_SMALL, (500, 2500), overlays="none"), cost(_SMALL, (500, 2500), overlays="all")
    large = cost(_LARGE, (60, 300), overlays="all")
    some = cost(_LARGE, (60, 300), overlays="below:0.8")  # one in twenty, see `SimulatedDevice`
    return [
        _figure("300x300 without overlays", small, 0.25),
        _figure("300x300 with overlays", drawn, 0.5),
        _figure("12 megapixels with overlays", large, 0.7),
        Figure(
            "a run that draws 5% of its photos / one that draws all, 12 megapixels, processor time of all processes",
            (some.main + some.workers) / (large.main + large.workers), 0.6,
            detail=f"{some.main + some.workers:.1f} and {large.main + large.workers:.1f} ms a photo",
        ),
        *(_measure_rate(folder, checkpoint, small, workers) for workers in (1, 2)),
    ]  # fmt: skip


def _figure(photos: str, cost: _Cost, bar: float) -> Figure:
    question = f"processor time of the main process a photo, {photos}, a device of no time"
    return Figure(question, cost.main, bar, "ms", detail=f"workers {cost.workers:.1f} ms")


def _measure_cost(
    folder: Path, checkpoint: Path, size: tuple[int, int], counts: tuple[int, int], *, overlays: str
) -> _Cost:  # fmt: skip
    """Measure what a photo costs, by the difference between a run over few photos and one over many."""
    few, many = (_time_run(folder, checkpoint, size, count, overlays=overlays) for count in counts)
    photos = counts[1] - counts[0]
    return _Cost(*(1000 * (more - less) / photos for less, more in zip(few, many, strict=True)))


def _time_run(
    folder: Path, checkpoint: Path, size: tuple[int, int], count: int, *, overlays: str
) -> tuple[float, float, float]:  # fmt: skip
    """Run over photos; return the seconds of the main process, of its workers, and of the clock."""
    photos = link_photo(folder / f"links-{size[0]}-{count}", count, size)
    started = time.process_time(), _children_seconds(), time.perf_counter()
    with _simulated_device(0.0):
        run(_settings(folder, checkpoint, photos, overlays=overlays))
    ended = time.process_time(), _children_seconds(), time.perf_counter()
    main, workers, wall = (after - before for before, after in zip(started, ended, strict=True))
    return main, workers, wall


def _measure_rate(folder: Path, checkpoint: Path, cost: _Cost, workers: int) -> Figure:
    """Measure the rate of a device of 1 ms a photo, over that of decoding alone; and predict it."""
    photos = link_photo(folder / "links-300-2500", 2500, _SMALL)
    with _simulated_device(0.001) as devices:
        run(_settings(folder, checkpoint, photos, overlays="none", workers=workers))
    decoding = _time_decoding(checkpoint, photos, workers)
    predicted = min(1000.0, 1000 * workers / (cost.workers + cost.main))
    return Figure(
        f"photos a second of a device of 1 ms, 300x300 without overlays, {workers} workers / the lower of its own rate "
        "and that of decoding alone",
        devices[0].rate / min(1000, decoding), 0.95, at_most=False,
        detail=f"{devices[0].rate:.0f}, decoding alone {decoding:.0f}, predicted for {workers} cores {predicted:.0f}",
    )  # fmt: skip


def _time_decoding(checkpoint: Path, photos: Path, workers: int) -> float:
    """Return the photos a second of the loader alone, without the first batch."""
    from pipeline.model.checkpoint import resolve_checkpoint

    classifier = load.load_classifier(resolve_checkpoint(str(checkpoint)), device="cpu", precision="fp32")
    refs = discover(photos).refs
    with PhotoLoader(classifier.load_spec(), num_workers=workers) as loader:
        batches = loader.batches(refs, _BATCH, lambda: False)
        next(batches)
        started = time.perf_counter()
        count = sum(len(batch.samples) for batch in batches)
        return count / (time.perf_counter() - started)


def _settings(
    folder: Path, checkpoint: Path, photos: Path, *, overlays: str, workers: int = 2
) -> RunConfig:  # fmt: skip
    return RunConfig(
        input=photos, out=folder / f"process-{time.monotonic_ns()}", model=str(checkpoint), overlays=overlays,
        report=False, batch_size=_BATCH, device="cpu", precision="fp32", workers=workers,
    )  # fmt: skip


@contextmanager
def _simulated_device(seconds: float) -> Iterator[list[WatchedDevice]]:
    """Let runs load a device that takes so many seconds a photo, and no processor time."""
    load_classifier, devices = load.load_classifier, list[WatchedDevice]()

    def load_simulated(*arguments: Any, **options: Any) -> WatchedDevice:
        devices.append(SimulatedDevice(load_classifier(*arguments, **options), seconds_per_image=seconds))
        return devices[-1]

    with mock.patch.object(load, "load_classifier", load_simulated):
        yield devices


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
