"""Photos decoded once, as uint8 pixels of one size in one file per split, read back one photo at a time.

Training reads every photo once per epoch; decoding it each time would cost as much as a small model's forward pass.
Reading with `pread` keeps the file out of the process's memory: the system's page cache holds as much as fits, so
20,000 photos need no more memory than 200.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.atomic_files import atomic_write_path
from pipeline.errors import DataError
from pipeline.labelled.splits import LabelledPhoto
from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.load_photo import LoadSpec
from pipeline.records import Pixels
from pipeline.training.decode_photos import decode_photos

log = logging.getLogger(__name__)

_BATCH_PHOTOS = 64


class PixelSource(Protocol):
    """Pixels of many photos, or windows of photos, all of one size."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Names of photos without pixels, and the reasons."""
        ...

    def read(self, index: int, epoch: int = 0) -> Pixels:
        """Read one of them, (3, S, S); windows lie elsewhere in each epoch."""
        ...


@dataclass(frozen=True)
class PixelCache:
    """Pixels of many photos, all of one size.

    Attributes:
        file: pixels of photo i begin at byte i * 3 * size * size.
        size: side in pixels.
        unreadable: names of photos without pixels, and the reasons.
    """

    file: Path
    size: int
    unreadable: dict[str, str]

    def read(self, index: int, epoch: int = 0) -> Pixels:
        """Read the pixels of one photo, (3, size, size), the same in each epoch."""
        count = 3 * self.size * self.size
        with self.file.open("rb", buffering=0) as stream:
            data = bytearray(os.pread(stream.fileno(), count, index * count))
        return np.frombuffer(data, dtype=np.uint8).reshape(3, self.size, self.size)


@dataclass(frozen=True)
class CachedSplit:
    """The readable photos of one split.

    Attributes:
        photos: in the data set's order.
        entries: index of each photo in the cache.
        cache: pixels of the whole split.
    """

    photos: tuple[LabelledPhoto, ...]
    entries: tuple[int, ...]
    cache: PixelSource


def decode_splits(
    photos: Sequence[LabelledPhoto], processors: dict[str, Any], work: Path, stop: Callable[[], bool]
) -> dict[str, CachedSplit]:
    """Decode each split, or reuse the pixels of an earlier session with equal processors.

    Unreadable photos are logged and left out.

    Args:
        photos: photos of all splits.
        processors: image processor of each split.
        work: folder for the pixels.
        stop: asked between photos.

    Raises:
        DataError: a split has no readable photo.
        StoppedError: `stop()` returned true.
    """
    splits = {}
    for split, processor in processors.items():
        chosen = [photo for photo in photos if photo.split == split]
        cache = _open_or_build_cache(chosen, processor, work / f"{split}.pixels", stop)
        for name, reason in cache.unreadable.items():
            log.warning("left out %s: %s", name, reason)
        if chosen and len(cache.unreadable) == len(chosen):
            name, reason = next(iter(cache.unreadable.items()))
            raise DataError(f"split: no photo of {split!r} can be read, {name} first: {reason}; correct the files")
        entries = [entry for entry, photo in enumerate(chosen) if photo.name not in cache.unreadable]
        splits[split] = CachedSplit(tuple(chosen[entry] for entry in entries), tuple(entries), cache)
    return splits


def _open_or_build_cache(
    photos: Sequence[LabelledPhoto], processor: Any, file: Path, stop: Callable[[], bool]
) -> PixelCache:
    marker, settings = file.with_suffix(".json"), json.loads(processor.to_json_string())
    if marker.is_file():
        saved = json.loads(marker.read_text())
        if saved["processor"] == settings:
            return PixelCache(file, _input_side(processor), saved["unreadable"])
        marker.unlink()  # the interrupted training measured other times, and chose another size
    cache = _build_cache(photos, processor, file, stop)
    log.info("decoded %d photos for %s, %d unreadable", len(photos), file.stem, len(cache.unreadable))
    with atomic_write_path(marker, marker.parent) as temporary:  # after the last pixel
        temporary.write_text(json.dumps({"processor": settings, "unreadable": cache.unreadable}))
    return cache


def _build_cache(photos: Sequence[LabelledPhoto], processor: Any, file: Path, stop: Callable[[], bool]) -> PixelCache:
    """Decode and resize photos in worker processes, exactly as a run does; photo i becomes entry i of the cache."""
    size = _input_side(processor)
    spec = LoadSpec(processor, draft_shorter_side=2 * size, overlay_size=None, max_pixels=MAX_PIXELS)
    entry_of = {photo.name: entry for entry, photo in enumerate(photos)}
    unreadable = {}
    with file.open("wb") as stream:
        for batch in decode_photos(photos, spec, file.stem, _BATCH_PHOTOS, stop):
            for sample in batch.samples:
                stream.seek(entry_of[sample.ref.path] * sample.pixels.size)
                stream.write(sample.pixels.data)
            unreadable.update({failure.ref.path: failure.reason for failure in batch.failures})
    return PixelCache(file, size, unreadable)


def _input_side(processor: Any) -> int:
    """Return the side of the processor's square output in pixels."""
    return int((processor.crop_size if processor.do_center_crop else processor.size)["height"])
