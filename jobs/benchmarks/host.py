"""The cost of the host beside the model: one photo from file to row, and the waiting time of a device."""

import io
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, save_checkpoint, save_photos
from jobs.benchmarks.timing import Figure, time_in_turn
from jobs.benchmarks.watched_device import SimulatedDevice, run_watched
from pipeline.model import load
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.classifier import Classifier
from pipeline.model.targets import Targets
from pipeline.overlays.draw import OverlayLook
from pipeline.overlays.writer import OverlayWriter
from pipeline.photos.discover import discover
from pipeline.photos.load_photo import load_sample
from pipeline.records import ImageRef, Prediction, Sample
from pipeline.results.folder import ResultsFolder
from pipeline.results.rows import RowBuilder
from pipeline.results.schema import set_columns

_LARGE = (4000, 3000)  # 12 megapixels


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure one photo on one core over its floor, and the waiting time of a simulated device."""
    figures = [_measure_photo(folder, rounds)]
    checkpoint = save_checkpoint(replace(VIT_B_16, name="one-layer", layers=1), folder)
    for milliseconds, overlays in ((12, True), (5, False)):
        for workers in (1, 2, 3):
            simulated = partial(SimulatedDevice, seconds_per_image=milliseconds / 1000)
            device = run_watched(
                folder, checkpoint, simulated, overlays, workers=workers, batch_size=32, device="cpu", precision="fp32"
            )
            drawn = "with overlays" if overlays else "without overlays"
            question = f"waiting time of a device with {milliseconds} ms an image, 300x300, {drawn}, {workers} workers"
            figures.append(Figure(question, 100 * device.waits, 5, "%", detail=f"{device.rate:.0f} images/s"))
    return figures


def _measure_photo(folder: Path, rounds: int) -> Figure:
    """Measure the host's work for a 12-megapixel JPEG over a DCT-scaled decode + PNG encode of the same pixels."""
    photos = save_photos(folder / "one", 1, _LARGE, ".jpg")
    checkpoint = resolve_checkpoint(str(save_checkpoint(VIT_L_32, folder)))
    classifier = load.load_classifier(checkpoint, device="cpu", precision="fp32")
    (ref,) = discover(photos).refs
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with ResultsFolder(folder / "one-out", photos) as results:
        ours, floor = _build_photo_loop(ref, classifier, results), partial(_decode_and_encode, ref.file)
        timings = time_in_turn({"ours": ours, "floor": floor}, 3 * rounds, time.process_time)
    torch.set_num_threads(threads)
    return Figure(
        "host cost of a 12-megapixel JPEG (decode, resize, overlay 1024, thumbnail, row), one core / its floor "
        "(DCT-scaled decode + PNG encode of the same pixels)",
        timings.ratio("ours", "floor"), 1.3, detail=timings.format_medians(),
    )  # fmt: skip


def _build_photo_loop(ref: ImageRef, classifier: Classifier, results: ResultsFolder) -> Callable[[], None]:
    """Build the host's work for one photo, from its file to a row and pictures, with a random map."""
    spec = classifier.load_spec(overlay_size=1024)
    logits = np.zeros(1000, np.float32)
    attention = np.random.default_rng(0).random(classifier.geometry.grid, dtype=np.float32)
    rows = RowBuilder(classifier.labels, "model", "rollout", "run", lambda path: "fingerprint", Targets())

    def loop() -> None:
        sample = load_sample(ref, spec)
        assert isinstance(sample, Sample)
        prediction = Prediction(sample, logits, attention)
        box = classifier.geometry.box_of(sample)
        with OverlayWriter(results, OverlayLook(), threads=1, waiting=4) as overlays:
            name = overlays.submit(prediction.sample, prediction.attention, box)
            overlays.flush()
        set_columns(rows.build_ok([prediction], [box], [None]), overlay=[name])

    return loop


def _decode_and_encode(file: str) -> None:
    """Do the least possible work for a photo and its overlay: a DCT-scaled decode and a PNG of the same pixels."""
    with Image.open(file) as image:
        image.draft("RGB", (1024, 768))
        image.load()
        picture = image.resize((1024, 768), Image.Resampling.NEAREST) if image.size != (1024, 768) else image
        picture.save(io.BytesIO(), "PNG", compress_level=1, compress_type=zlib.Z_RLE)
