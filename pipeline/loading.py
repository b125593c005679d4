"""Refs -> batches of decoded photos, in worker processes that may die without taking the run along."""

import hashlib
import io
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import numpy as np
from pebble import ProcessExpired, ProcessFuture, ProcessPool
from PIL import Image

from pipeline.decode import Photo, decode
from pipeline.errors import DecodeError
from pipeline.records import Batch, Failure, ImageRef, Pixels, Sample

# JPEGs are decoded to at least this on the longer side, whatever the overlay's size: so the numbers never
# depend on how overlays look. A larger overlay gets a decode of its own.
DRAFT_LONGER_SIDE = 1024


@dataclass(frozen=True)
class LoadSpec:
    """What a worker does with a file.

    Attributes:
        processor: transformers image processor with the PIL backend.
        draft_shorter_side: pixels that the model needs; None: decode JPEGs in full.
        overlay_size: longest side of the photo kept for the overlay, in pixels; None: keep none.
        max_pixels: refuse photos with more.
    """

    processor: Any
    draft_shorter_side: int | None
    overlay_size: int | None
    max_pixels: int


def load_sample(ref: ImageRef, spec: LoadSpec) -> Sample | Failure:
    """Read, hash and decode one file; everything that can be wrong with it becomes a `Failure`."""
    if ref.problem is not None:
        return Failure(ref, ref.problem)
    try:
        ref, data = _read(ref)
    except OSError as error:
        gone = "; it vanished during the run" if isinstance(error, FileNotFoundError) else ""
        return Failure(ref, f"can't be read: {error.strerror}{gone}")
    except DecodeError as error:
        return Failure(ref, str(error))
    content_hash = hashlib.blake2b(data, digest_size=16).hexdigest()
    draft = None if spec.draft_shorter_side is None else (spec.draft_shorter_side, DRAFT_LONGER_SIDE)
    try:
        photo = decode(io.BytesIO(data), max_pixels=spec.max_pixels, draft_size=draft)
        pixels = _model_pixels(photo.image, spec.processor)
        kept = _overlay_photo(photo, data, spec)
    except DecodeError as error:
        return Failure(ref, str(error), content_hash)
    return Sample(ref, content_hash, photo.width, photo.height, photo.note, pixels, kept)


def hash_file(ref: ImageRef) -> str | None:
    """The content hash of a file, or None where it can't be read."""
    try:
        with open(ref.file, "rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return None


def _read(ref: ImageRef) -> tuple[ImageRef, bytes]:
    """The file's bytes, and the ref with the size and mtime that these bytes had."""
    with open(ref.file, "rb") as stream:
        before = os.fstat(stream.fileno())
        data = stream.read()
        after = os.fstat(stream.fileno())
    ref = replace(ref, file_bytes=before.st_size, mtime_ns=before.st_mtime_ns)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != before.st_size:
        raise DecodeError("it changed while it was read; the next run takes it up again")
    return ref, data


def _model_pixels(image: Image.Image, processor: Any) -> Pixels:
    """The model's input as uint8: the processor's resize and crop; the rest runs on the device."""
    try:
        output = processor(image, do_rescale=False, do_normalize=False)
    except (ValueError, MemoryError) as error:  # a photo of one pixel row has no aspect that it could keep
        raise DecodeError(f"{image.width} x {image.height} pixels can't be resized for the model: {error}") from error
    pixels: Pixels = np.ascontiguousarray(output["pixel_values"][0], dtype=np.uint8)  # (3, H, W)
    return pixels


def _overlay_photo(photo: Photo, data: bytes, spec: LoadSpec) -> Pixels | None:
    """The photo at the overlay's size, never enlarged, (h, w, 3)."""
    if spec.overlay_size is None:
        return None
    image = photo.image
    longest = max(photo.width, photo.height)
    if max(image.size) < min(spec.overlay_size, longest):
        image = decode(io.BytesIO(data), max_pixels=spec.max_pixels, draft_size=(1, spec.overlay_size)).image
    scale = min(1.0, spec.overlay_size / longest)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))


_worker_spec: LoadSpec


def _start_worker(spec: LoadSpec) -> None:
    global _worker_spec
    _worker_spec = spec
    Image.MAX_IMAGE_PIXELS = None  # `decode` has its own limit, with a reason


def _load_in_worker(ref: ImageRef) -> Sample | Failure:
    return load_sample(ref, _worker_spec)


class PhotoLoader:
    """Decodes photos in worker processes, some batches ahead, and gives them back in the order of the refs.

    A file whose decoder crashes or hangs its process becomes a `Failure`; the process is replaced.
    """

    def __init__(self, spec: LoadSpec, *, workers: int, decode_seconds: float) -> None:
        """Args: the spec for the workers, how many, and the seconds that one photo may take."""
        # Forked on Linux, as torch's DataLoader does: a worker starts at once with transformers imported, and
        # scripts that call `pipeline.run` need no `if __name__ == "__main__"`.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._pool = ProcessPool(workers, initializer=_start_worker, initargs=(spec,), context=context)
        self._workers = workers
        self._seconds = decode_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.stop()
        self._pool.join()

    def batches(self, refs: Iterable[ImageRef], batch_size: int, stop: Callable[[], bool]) -> Iterator[Batch]:
        """Consecutive refs, `batch_size` at a time, until there are no more or `stop()` says so.

        A batch is always made of the same refs, failures included, so a run that goes on after an
        interruption forms the batches that an uninterrupted one would have formed.
        """
        waiting: deque[tuple[ImageRef, ProcessFuture[Sample | Failure]]] = deque()
        queue = iter(refs)
        while True:
            ahead = 2 * (batch_size + self._workers) - len(waiting)
            waiting.extend((ref, self._schedule(ref)) for ref in islice(queue, ahead))
            if not waiting:
                return
            results: list[Sample | Failure] = []
            while waiting and len(results) < batch_size:
                ref, future = waiting.popleft()
                result = self._result(ref, future, stop)
                if result is None:
                    return
                results.append(result)
            yield Batch(
                samples=tuple(result for result in results if isinstance(result, Sample)),
                failures=tuple(result for result in results if isinstance(result, Failure)),
            )

    def _schedule(self, ref: ImageRef) -> ProcessFuture[Sample | Failure]:
        return self._pool.schedule(_load_in_worker, args=(ref,), timeout=self._seconds)

    def _result(
        self, ref: ImageRef, future: ProcessFuture[Sample | Failure], stop: Callable[[], bool]
    ) -> Sample | Failure | None:
        """What became of a file; None where the run is told to stop first."""
        crashed = False
        while not stop():
            wait([future], timeout=0.2)
            if not future.done():
                continue
            error = future.exception()
            if error is None:
                return future.result()
            if isinstance(error, TimeoutError):
                return Failure(ref, f"the decoder took longer than {self._seconds:g} s")
            if not isinstance(error, ProcessExpired):
                raise error
            if crashed:
                return Failure(ref, f"the decoder crashed (exit code {error.exitcode})")
            crashed = True  # it may have died of something else, of short memory say: once more
            future = self._schedule(ref)
        return None
