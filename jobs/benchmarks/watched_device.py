"""Devices with a clock: a real one, and one that takes a set time and computes nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch

from jobs.benchmarks.materials import save_linked_photos
from pipeline.config import RunConfig
from pipeline.model import load
from pipeline.records import Output
from pipeline.run import run

_WATCHED_PHOTOS = 1500


@dataclass
class WatchedDevice:
    """A classifier on a CUDA device, whose own clock counts from the end of the first batch.

    Attributes:
        classifier: the model.
        photos: number of photos since the first batch.
        busy: seconds at work on them; gaps between the operations of a batch count.
        elapsed: seconds from the end of the first batch to that of the last one.
    """

    classifier: Any
    photos: int = 0
    busy: float = 0.0
    elapsed: float = 0.0
    _first_end: Any = None

    @property
    def waits(self) -> float:
        """Share of the time without a batch, 0..1."""
        return 1 - self.busy / self.elapsed

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.photos / self.elapsed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.classifier, name)

    def launch(self, pixels: Any, plan: Any, targets: Any = None) -> Callable[[], Output]:
        """Begin a batch as the classifier does, with the device's own clock; arguments as of `Classifier.launch`."""
        began, finished = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        computing = torch.cuda.current_stream(self.classifier.network.device)
        began.record(computing)
        output = self.classifier.launch(pixels, plan, targets)
        finished.record(computing)

        def wait() -> Output:
            waited: Output = output()
            finished.synchronize()
            if self._first_end is None:  # the first batch also sets things up
                self._first_end = finished
            else:
                self.photos += len(pixels)
                self.busy += began.elapsed_time(finished) / 1000
                self.elapsed = self._first_end.elapsed_time(finished) / 1000
            return waited

        return wait


@dataclass
class SimulatedDevice(WatchedDevice):
    """A device with a fixed time per image and no work for the processor; a run doesn't treat it as a CPU.

    Attributes:
        seconds_per_image: its time.
        network: names the device's type.
        free: time at which it has done all batches so far, seconds of `time.perf_counter`.
        launched: number of photos so far; every twentieth has no sure label.
    """

    seconds_per_image: float = 0.0
    network: Any = field(default_factory=lambda: SimpleNamespace(device=SimpleNamespace(type="simulated")))
    free: float = 0.0
    launched: int = 0

    def launch(self, pixels: Any, plan: Any, targets: Any = None) -> Callable[[], Output]:
        """Queue a batch; its output, the first label and random maps, comes after the simulated time."""
        logits = np.zeros((len(pixels), 1000), np.float32)
        logits[:, 0] = np.where(np.arange(self.launched, self.launched + len(pixels)) % 20, 20, 0)
        self.launched += len(pixels)
        count, seconds = len(pixels), self.seconds_per_image * len(pixels)
        ended = self.free = max(self.free, time.perf_counter()) + seconds
        if self._first_end is None:
            self._first_end = ended
        else:
            self.photos += count
            self.busy += seconds
            self.elapsed = ended - self._first_end

        def wait() -> Output:
            time.sleep(max(0.0, ended - time.perf_counter()))
            attention = np.random.default_rng(0).random((count, *self.classifier.geometry.grid), dtype=np.float32)
            return Output(logits, {"rollout": attention})

        return wait


def run_watched(
    folder: Path, checkpoint: Path, watch: Callable[[Any], WatchedDevice], overlays: bool, **settings: Any
) -> WatchedDevice:
    """Run over 1,500 photos of 300x300, with a watched classifier.

    Args:
        folder: folder for photos and results.
        checkpoint: the model.
        watch: turns its classifier into a watched one.
        overlays: whether to draw overlays.
        settings: further settings of `RunConfig`.
    """
    photos = save_linked_photos(folder / "small", _WATCHED_PHOTOS)
    load_classifier = load.load_classifier
    devices: list[WatchedDevice] = []

    def load_watched(*arguments: Any, **options: Any) -> Any:
        devices.append(watch(load_classifier(*arguments, **options)))
        return devices[-1]

    places = {"input": photos, "out": folder / f"watched-{time.monotonic_ns()}"}
    config = RunConfig(
        **places | settings, model=str(checkpoint), overlay_size=1024 if overlays else None, report=False
    )
    with mock.patch.object(load, "load_classifier", load_watched):
        run(config)
    (device,) = devices
    return device
