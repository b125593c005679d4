"""What the host costs beside the model: one photo's way, and how well a device is kept busy."""

import io
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, save_checkpoint, save_photos
from jobs.benchmarks.timing import Figure, in_turn

_LARGE = (4000, 3000)  # 12 megapixels
_SMALL = (300, 300)


def measure(folder: Path, rounds: int) -> list[Figure]:
    """One photo on one core over its floor, and the share of time that a simulated device waits."""
    figures = [_one_photo(folder, rounds)]
    for milliseconds, overlays in ((12, True), (5, False)):
        for workers in (1, 2, 3):
            waits, rate = _simulated_run(folder, milliseconds / 1000, overlays=overlays, workers=workers)
            drawn = "with" if overlays else "without"
            question = (
                f"time that a device of {milliseconds} ms an image waits, 300x300, {drawn} overlays, {workers} workers"
            )
            figures.append(Figure(question, 100 * waits, 5, "%", detail=f"{rate:.0f} images/s"))
    return figures


def _one_photo(folder: Path, rounds: int) -> Figure:
    """All that the host does for a 12-megapixel JPEG / DCT-scaled decode + PNG encode of the same pixels."""
    import torch
    from PIL import Image

    from pipeline.checkpoint import resolve_checkpoint
    from pipeline.discover import discover
    from pipeline.loading import LoadSpec, load_sample
    from pipeline.model import load_classifier
    from pipeline.overlay import OverlayLook
    from pipeline.overlay_writer import OverlayWriter
    from pipeline.records import Prediction, Sample
    from pipeline.rows import RowMaker
    from pipeline.schema import to_table
    from pipeline.store import ResultsFolder

    torch.set_num_threads(1)
    photos = save_photos(folder / "one", 1, _LARGE, ".jpg")
    checkpoint = resolve_checkpoint(str(save_checkpoint(VIT_L_32, folder / "ViT-L-32-384")))
    classifier = load_classifier(checkpoint, device="cpu", precision="fp32")
    (ref,) = discover(photos).refs
    spec = LoadSpec(classifier.processor, classifier.framing.draft_size, 1024, 10**9)
    logits = torch.zeros(1000).numpy()
    attention = torch.rand(classifier.framing.grid).numpy()
    rows = RowMaker(classifier.labels, "model", "rollout", "run", lambda path: "fingerprint", None)

    with ResultsFolder(folder / "one-out", photos) as results:

        def ours() -> None:
            sample = load_sample(ref, spec)
            assert isinstance(sample, Sample)
            prediction = Prediction(sample, logits, attention)
            box = classifier.framing.map_box(sample.width, sample.height)
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

        timings = in_turn({"ours": ours, "floor": floor}, 3 * rounds, time.process_time)
    return Figure(
        "host cost of a 12-megapixel JPEG (decode, resize, overlay 1024, thumbnail, row), one core / its floor "
        "(DCT-scaled decode + PNG encode of the same pixels)",
        timings.ratio("ours", "floor"), 1.3, detail=timings.describe(),
    )  # fmt: skip


@dataclass
class SimulatedDevice:
    """Stands in for a classifier: a set time an image without the processor, and a clock of its own."""

    classifier: Any
    seconds_an_image: float
    busy: float = 0.0
    started: float = 0.0
    ended: float = 0.0

    @property
    def waits(self) -> float:
        """Share of the time between its first image and its last in which it had none."""
        return 1 - self.busy / (self.ended - self.started)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.classifier, name)

    def predict(self, pixels: Any, maps: Any, targets: Any) -> Any:
        """Zero logits and a map, after the time that the device takes."""
        import numpy as np

        from pipeline.records import Output

        self.started = self.started or time.perf_counter()
        time.sleep(self.seconds_an_image * len(pixels))
        self.ended = time.perf_counter()
        self.busy += self.seconds_an_image * len(pixels)
        attention = np.random.default_rng(0).random((len(pixels), *self.classifier.framing.grid), dtype=np.float32)
        return Output(np.zeros((len(pixels), 1000), np.float32), {"rollout": attention})


def _simulated_run(folder: Path, seconds: float, *, overlays: bool, workers: int) -> tuple[float, float]:
    """The share of the loop's time that the device waited, and the images a second."""
    from unittest import mock

    import pipeline
    from pipeline import model

    photos = save_photos(folder / "small", 1, _SMALL, ".png")
    first = next(photos.iterdir())
    for number in range(1, 1500):
        link = photos / f"photo-{number:05}.png"
        if not link.exists():
            link.hardlink_to(first)
    checkpoint = save_checkpoint(replace(VIT_B_16, layers=1), folder / "one-layer")
    load = model.load_classifier
    devices: list[SimulatedDevice] = []

    def load_simulated(*arguments: Any, **settings: Any) -> Any:
        devices.append(SimulatedDevice(load(*arguments, **settings), seconds))
        return devices[-1]

    out = folder / f"simulated-{seconds}-{workers}-{time.monotonic_ns()}"
    config = pipeline.RunConfig(
        input=photos, out=out, model=str(checkpoint), overlay_size=1024 if overlays else None, workers=workers,
        batch_size=32, device="cpu", precision="fp32", report=False,
    )  # fmt: skip
    with mock.patch.object(model, "load_classifier", load_simulated):
        summary = pipeline.run(config)
    (device,) = devices
    return device.waits, summary.processed / (device.ended - device.started)
