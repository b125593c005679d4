"""Photos decoded once, as uint8 pixels at one size in one file on disk, read back a photo at a time.

Training reads every photo once an epoch; decoding them anew each time would cost as much as a small model's
forward pass. Reading with `pread` keeps the file out of the process's memory: the system's page cache holds
what fits, so 20,000 photos need no more memory than 200.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.labelled.read import labelled_ref
from pipeline.labelled.splits import LabelledPhoto
from pipeline.photos.decode import MAX_PIXELS
from pipeline.photos.loader import LoadSpec, PhotoLoader, available_cores
from pipeline.records import Pixels

_BATCH = 64
_SECONDS_A_PHOTO = 60


@dataclass(frozen=True)
class PixelCache:
    """Pixels of many photos, all of one size.

    Attributes:
        file: photo i's pixels lie at i * 3 * size * size.
        size: side in pixels.
        unreadable: reason by name, of the photos that have no pixels.
    """

    file: Path
    size: int
    unreadable: dict[str, str]

    def read(self, index: int) -> Pixels:
        """Pixels of one photo, (3, size, size)."""
        count = 3 * self.size * self.size
        with self.file.open("rb", buffering=0) as stream:
            data = bytearray(os.pread(stream.fileno(), count, index * count))
        return np.frombuffer(data, dtype=np.uint8).reshape(3, self.size, self.size)


def build_pixel_cache(
    photos: Sequence[LabelledPhoto],
    processor: Any,
    file: Path,
    *,
    on_batch: Callable[[int], None] = lambda count: None,
    stop: Callable[[], bool] = lambda: False,
) -> PixelCache | None:
    """Decode and resize photos in worker processes, exactly as a run does.

    Args:
        photos: photo i of them becomes entry i.
        processor: image processor in Pillow's backend, which stretches a photo to a square.
        file: written in place; half of one is of no use.
        on_batch: called with how many more photos are through.
        stop: asked between photos; once true, the work ends and there is no cache.
    """
    size = int(processor.size["height"])
    spec = LoadSpec(processor, 2 * size, overlay_size=None, max_pixels=MAX_PIXELS)
    places = {photo.name: place for place, photo in enumerate(photos)}
    refs = [labelled_ref(photo) for photo in photos]
    unreadable = {}
    with (
        file.open("wb") as stream,
        PhotoLoader(spec, workers=available_cores(), decode_seconds=_SECONDS_A_PHOTO) as loader,
    ):
        for batch in loader.batches(refs, _BATCH, stop):
            for sample in batch.samples:
                stream.seek(places[sample.ref.path] * sample.pixels.size)
                stream.write(sample.pixels.data)
            unreadable.update({failure.ref.path: failure.reason for failure in batch.failures})
            on_batch(len(batch.samples) + len(batch.failures))
    return None if stop() else PixelCache(file, size, unreadable)
