"""Refs -> batches of decoded photos, in worker processes that may die without taking the run along."""

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any, Self

import numpy as np
from PIL import Image

from pipeline.errors import DecodeError
from pipeline.photos.decode import Photo, decode, load_decoders
from pipeline.photos.discover import mtime_ns
from pipeline.photos.resize import downscale
from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError
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
    except MemoryError:
        return Failure(ref, "can't be read: not enough memory for so large a file")
    content_hash = hashlib.blake2b(data, digest_size=16).hexdigest()
    draft = None if spec.draft_shorter_side is None else (spec.draft_shorter_side, DRAFT_LONGER_SIDE)
    try:
        photo = decode(io.BytesIO(data), max_pixels=spec.max_pixels, draft_size=draft)
        pixels = _model_pixels(photo.rgb, spec)
        kept = _overlay_photo(photo, data, spec)
    except (DecodeError, MemoryError) as error:
        return Failure(ref, str(error) or "not enough memory for it", content_hash)
    return Sample(ref, content_hash, photo.width, photo.height, photo.note, pixels, kept)


def available_cores() -> int:
    """Cores that this process may use; containers often allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    ref = replace(ref, file_bytes=before.st_size, mtime_ns=mtime_ns(before))
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != before.st_size:
        raise DecodeError("it changed while it was read; the next run takes it up again")
    return ref, data


def _model_pixels(rgb: Pixels, spec: LoadSpec) -> Pixels:
    """The model's input as uint8: the processor's resize and crop; the rest runs on the device."""
    height, width, _ = rgb.shape
    edge = spec.processor.size.shortest_edge if spec.processor.do_resize else None
    if edge and edge * edge * max(width, height) // min(width, height) > spec.max_pixels:
        raise DecodeError(f"{width} x {height} pixels are too narrow: resized for the model, more than max_pixels")
    try:
        output = spec.processor(rgb, input_data_format="channels_last", do_rescale=False, do_normalize=False)
    except ValueError as error:
        raise DecodeError(f"{width} x {height} pixels can't be resized for the model: {error}") from error
    pixels: Pixels = np.ascontiguousarray(output["pixel_values"][0], dtype=np.uint8)  # (3, H, W)
    return pixels


def _overlay_photo(photo: Photo, data: bytes, spec: LoadSpec) -> Pixels | None:
    """The photo at the overlay's size, never enlarged, (h, w, 3)."""
    if spec.overlay_size is None:
        return None
    rgb = photo.rgb
    longest = max(photo.width, photo.height)
    if max(rgb.shape[:2]) < min(spec.overlay_size, longest):
        rgb = decode(io.BytesIO(data), max_pixels=spec.max_pixels, draft_size=(1, spec.overlay_size)).rgb
    scale = min(1.0, spec.overlay_size / longest)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    return downscale(rgb, size)


def _load_in_worker(spec: LoadSpec, ref: ImageRef) -> Sample | Failure:
    import torch

    Image.MAX_IMAGE_PIXELS = None  # `decode` has its own limit, with a reason
    torch.set_num_threads(1)  # the threads that the main process had are not in its fork; waiting for them is forever
    return load_sample(ref, spec)


class PhotoLoader:
    """Decodes photos in worker processes, some batches ahead, and gives them back in the order of the refs.

    A file whose decoder crashes or hangs its process becomes a `Failure`; the process is replaced.
    """

    def __init__(self, spec: LoadSpec, *, workers: int, decode_seconds: float) -> None:
        """Args: the spec for the workers, how many, and the seconds that one photo may take."""
        # A process that is forked while a thread here imports a module waits for that import forever if it
        # wants the module too. So all that a worker needs is imported before there is a thread.
        import torch  # noqa: F401

        load_decoders()
        self._workers = [Worker(partial(_load_in_worker, spec)) for _ in range(workers)]
        self._idle: SimpleQueue[Worker[ImageRef, Sample | Failure]] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers)  # one for each worker, to feed it while the model computes
        self._seconds = decode_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown()

    def batches(self, refs: Iterable[ImageRef], batch_size: int, stop: Callable[[], bool]) -> Iterator[Batch]:
        """Consecutive refs, `batch_size` at a time, until there are no more or `stop()` says so.

        A batch is always made of the same refs, failures included, so a run that goes on after an
        interruption forms the batches that an uninterrupted one would have formed.
        """
        waiting: deque[Future[Sample | Failure]] = deque()
        queue = iter(refs)
        while True:
            ahead = 2 * (batch_size + len(self._workers)) - len(waiting)
            waiting.extend(self._threads.submit(self._load, ref) for ref in islice(queue, ahead))
            if not waiting:
                return
            results: list[Sample | Failure] = []
            while waiting and len(results) < batch_size:
                if stop():
                    return
                if wait([waiting[0]], timeout=0.2).done:
                    results.append(waiting.popleft().result())
            yield Batch(
                samples=tuple(result for result in results if isinstance(result, Sample)),
                failures=tuple(result for result in results if isinstance(result, Failure)),
            )

    def _load(self, ref: ImageRef) -> Sample | Failure:
        """Load one photo in whichever worker is idle."""
        worker = self._idle.get()
        try:
            try:
                return worker.run(ref, seconds=self._seconds)
            except WorkerDiedError:  # maybe of something else, of short memory say: once more
                return worker.run(ref, seconds=self._seconds)
        except WorkerDiedError as error:
            return Failure(ref, f"the decoder crashed ({error})")
        except WorkerTimeoutError:
            return Failure(ref, f"the decoder took longer than {self._seconds:g} s")
        finally:
            self._idle.put(worker)
