"""What the host costs beside the model: one photo's way, and how well a device is kept busy."""

import io
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, save_checkpoint, save_photos
from jobs.benchmarks.timing import Figure, in_turn

_LARGE = (4000, 3000)  # 12 megapixels
_SMALL = (300, 300)


def measure(folder: Path, rounds: int) -> list[Figure]:
    """One photo on one core over its floor, and the share of time that a simulated device waits."""
    figures = [_one_photo(folder, rounds)]
    checkpoint = save_checkpoint(replace(VIT_B_16, layers=1), folder / "one-layer")
    for milliseconds, overlays in ((12, True), (5, False)):
        for workers in (1, 2, 3):
            simulated = partial(SimulatedDevice, seconds_an_image=milliseconds / 1000)
            device = watched_run(
                folder, checkpoint, simulated, overlays, workers=workers, batch_size=32, device="cpu", precision="fp32"
            )
            drawn = "with" if overlays else "without"
            question = (
                f"time that a device of {milliseconds} ms an image waits, 300x300, {drawn} overlays, {workers} workers"
            )
            figures.append(Figure(question, 100 * device.waits, 5, "%", detail=f"{device.rate:.0f} images/s"))
    return figures


def _one_photo(folder: Path, rounds: int) -> Figure:
    """All that the host does for a 12-megapixel JPEG / DCT-scaled decode + PNG encode of the same pixels."""
    import torch
    from PIL import Image

    from pipeline.model.checkpoint import resolve_checkpoint
    from pipeline.model.classifier import load_classifier
    from pipeline.overlays.draw import OverlayLook
    from pipeline.overlays.writer import OverlayWriter
    from pipeline.photos.discover import discover
    from pipeline.photos.loader import LoadSpec, load_sample
    from pipeline.records import Prediction, Sample
    from pipeline.results.folder import ResultsFolder
    from pipeline.results.rows import RowBuilder
    from pipeline.results.schema import to_table

    photos = save_photos(folder / "one", 1, _LARGE, ".jpg")
    checkpoint = resolve_checkpoint(str(save_checkpoint(VIT_L_32, folder / "ViT-L-32-384")))
    classifier = load_classifier(checkpoint, device="cpu", precision="fp32")
    (ref,) = discover(photos).refs
    spec = LoadSpec(classifier.processor, classifier.geometry.draft_size, 1024, 10**9)
    logits = torch.zeros(1000).numpy()
    attention = torch.rand(classifier.geometry.grid).numpy()
    rows = RowBuilder(classifier.labels, "model", "rollout", "run", lambda path: "fingerprint", None)

    with ResultsFolder(folder / "one-out", photos) as results:

        def ours() -> None:
            sample = load_sample(ref, spec)
            assert isinstance(sample, Sample)
            prediction = Prediction(sample, logits, attention)
            box = classifier.geometry.map_box(sample.width, sample.height)
            with OverlayWriter(results, OverlayLook(), threads=1, waiting=4) as overlays:
                name = overlays.submit(prediction, box)
                overlays.flush()
            to_table([rows.ok(prediction, box, name)])

        def floor() -> None:
            with Image.open(ref.file) as image:
                image.draft("RGB", (1024, 768))
                image.load()
                picture = image.resize((1024, 768), Image.Resampling.NEAREST) if image.size != (1024, 768) else image
                picture.save(io.BytesIO(), "PNG", compress_level=1, compress_type=zlib.Z_RLE)

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        timings = in_turn({"ours": ours, "floor": floor}, 3 * rounds, time.process_time)
        torch.set_num_threads(threads)
    return Figure(
        "host cost of a 12-megapixel JPEG (decode, resize, overlay 1024, thumbnail, row), one core / its floor "
        "(DCT-scaled decode + PNG encode of the same pixels)",
        timings.ratio("ours", "floor"), 1.3, detail=timings.describe(),
    )  # fmt: skip


@dataclass
class WatchedDevice:
    """Stands before a classifier and takes the time that it is at work, from the end of the first batch on."""

    classifier: Any
    photos: int = 0
    busy: float = 0.0
    started: float = 0.0
    ended: float = 0.0

    @property
    def waits(self) -> float:
        """Share of the time in which it had no batch."""
        return 1 - self.busy / (self.ended - self.started)

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.photos / (self.ended - self.started)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.classifier, name)

    def predict(self, pixels: Any, maps: Any, targets: Any) -> Any:
        """The classifier's output."""
        entered = time.perf_counter()
        output = self.classifier.predict(pixels, maps, targets)
        self._count(len(pixels), time.perf_counter() - entered)
        return output

    def _count(self, photos: int, seconds: float) -> None:
        self.ended = time.perf_counter()
        if not self.started:  # the first batch also sets things up
            self.started = self.ended
        else:
            self.busy += seconds
            self.photos += photos


@dataclass
class SimulatedDevice(WatchedDevice):
    """A set time an image without the processor; to the run it is no CPU."""

    seconds_an_image: float = 0.0
    network: Any = field(default_factory=lambda: SimpleNamespace(device=SimpleNamespace(type="simulated")))

    def predict(self, pixels: Any, maps: Any, targets: Any) -> Any:
        """Zero logits and a map."""
        import numpy as np

        from pipeline.records import Output

        seconds = self.seconds_an_image * len(pixels)
        time.sleep(seconds)
        self._count(len(pixels), seconds)
        attention = np.random.default_rng(0).random((len(pixels), *self.classifier.geometry.grid), dtype=np.float32)
        return Output(np.zeros((len(pixels), 1000), np.float32), {"rollout": attention})


def watched_run(
    folder: Path, checkpoint: Path, watch: Callable[[Any], WatchedDevice], overlays: bool, **settings: Any
) -> WatchedDevice:
    """A run over 1,500 photos of 300x300; `watch` is put before the classifier. Settings are those of `RunConfig`."""
    from unittest import mock

    import pipeline
    from pipeline.model import classifier as model

    photos = save_photos(folder / "small", 1, _SMALL, ".png")
    first = next(photos.iterdir())
    for number in range(1, 1500):
        link = photos / f"photo-{number:05}.png"
        if not link.exists():
            link.hardlink_to(first)
    load = model.load_classifier
    devices: list[WatchedDevice] = []

    def load_watched(*arguments: Any, **how: Any) -> Any:
        devices.append(watch(load(*arguments, **how)))
        return devices[-1]

    out = folder / f"watched-{time.monotonic_ns()}"
    config = pipeline.RunConfig(
        input=photos, out=out, model=str(checkpoint), overlay_size=1024 if overlays else None, report=False, **settings
    )
    with mock.patch.object(model, "load_classifier", load_watched):
        pipeline.run(config)
    (device,) = devices
    return device
