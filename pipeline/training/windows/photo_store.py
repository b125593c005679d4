"""Whole photos decoded once, in one file, to cut windows from in every epoch."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic import TypeAdapter

from pipeline.atomic_files import atomic_write_path
from pipeline.errors import StoreError
from pipeline.labelled.splits import LabelledPhoto
from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.load_photo import LoadSpec
from pipeline.records import PixelBox, Pixels
from pipeline.training.decode_photos import decode_photos

log = logging.getLogger(__name__)

_BATCH_PHOTOS = 8
_WHOLE = 10**9  # no photo has a longer side


@dataclass(frozen=True)
class StoredPhoto:
    """A photo in the file.

    Attributes:
        offset: of its first byte.
        width, height: upright pixels.
        channels: 1 for grey photos, 3 for others.
    """

    offset: int
    width: int
    height: int
    channels: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


@dataclass(frozen=True)
class PhotoStore:
    """The pixels of photos.

    Attributes:
        file: of all pixels.
        photos: by name.
        unreadable: names of photos without pixels, and the reasons.
    """

    file: Path
    photos: dict[str, StoredPhoto]
    unreadable: dict[str, str]

    def cut(self, name: str, window: PixelBox) -> Pixels:
        """Read a window of a photo, (h, w, 3)."""
        photo = self.photos[name]
        shape = photo.height, photo.width, photo.channels
        pixels = np.memmap(self.file, np.uint8, "r", photo.offset, shape)
        left, top, right, bottom = window
        return np.repeat(pixels[top:bottom, left:right], 3 // photo.channels, axis=2)


def open_store(photos: Sequence[LabelledPhoto], file: Path, processor: Any, stop: Callable[[], bool]) -> PhotoStore:
    """Decode photos into a file, or take that of an earlier session.

    Args:
        photos: of unique names.
        file: for the pixels; its description lies beside it.
        processor: of any model; its input is not used.
        stop: asked between photos.

    Raises:
        StoppedError: `stop()` returned true.
        StoreError: the disk is full.
    """
    description = file.with_suffix(".json")
    if description.is_file():
        saved = json.loads(description.read_text())
        return PhotoStore(
            file, TypeAdapter(dict[str, StoredPhoto]).validate_python(saved["photos"]), saved["unreadable"]
        )
    spec = LoadSpec(processor, draft_shorter_side=None, overlay_size=_WHOLE, max_pixels=MAX_PIXELS)
    store = PhotoStore(file, {}, {})
    with file.open("wb") as stream:
        for batch in decode_photos(photos, spec, file.stem, _BATCH_PHOTOS, stop):
            for sample in batch.samples:
                assert sample.photo is not None
                store.photos[sample.ref.path] = _append(sample.photo, stream, file)
            store.unreadable.update({failure.ref.path: failure.reason for failure in batch.failures})
    log.info("decoded %d photos for %s, %d unreadable", len(photos), file.stem, len(store.unreadable))
    with atomic_write_path(description, description.parent) as temporary:  # after the last pixel
        stored = {name: asdict(photo) for name, photo in store.photos.items()}
        temporary.write_text(json.dumps({"photos": stored, "unreadable": store.unreadable}))
    return store


def _append(rgb: Pixels, stream: IO[bytes], file: Path) -> StoredPhoto:
    """Write a photo, (h, w, 3), at the end of the file; a grey one as one channel."""
    is_grey = bool((rgb == rgb[:, :, :1]).all())
    pixels = np.ascontiguousarray(rgb[:, :, :1] if is_grey else rgb)
    offset = stream.tell()
    try:
        stream.write(pixels.data)
    except OSError as error:
        raise StoreError(
            f"{file}: can't be written ({error.strerror}); the photos need up to 3 bytes a pixel"
        ) from error
    height, width, channels = pixels.shape
    return StoredPhoto(offset, width, height, channels)
