"""Refs -> batches of decoded photos. The decoders run in worker processes, so their crashes cost one photo each."""

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
from typing import Any, Literal, Self

import numpy as np
from PIL import Image

from pipeline.errors import DecodeError
from pipeline.photos.decode import Photo, decode, load_decoders
from pipeline.photos.discover import mtime_ns
from pipeline.photos.resize import downscale, fit_within
from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError
from pipeline.records import Batch, Failure, ImageRef, Pixels, Sample

# JPEGs are decoded to at least this on the longer side, for any size of the overlay: so the numbers never
# depend on the look of overlays. A larger overlay gets a decode of its own.
DRAFT_LONGER_SIDE = 1024
DECODE_SECONDS = 60  # for one photo, by default


@dataclass(frozen=True)
class LoadSpec:
    """Instructions for decoding a file.

    Attributes:
        processor: transformers image processor with the Pillow backend.
        draft_shorter_side: pixels needed by the model; None: decode JPEGs in full.
        overlay_size: longest side of the photo kept for the overlay, in pixels; None: keep none.
        max_pixels: refuse photos with more.
    """

    processor: Any
    draft_shorter_side: int | None
    overlay_size: int | None
    max_pixels: int


def load_sample(ref: ImageRef, spec: LoadSpec) -> Sample | Failure:
    """Read, hash and decode one file; any fault of it becomes a `Failure`."""
    if ref.problem is not None:
        return Failure(ref, ref.problem)
    try:
        ref, data = _read_unchanged(ref)
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
        pixels = model_pixels(photo.rgb, spec)
        overlay_photo = _overlay_photo(photo, data, spec)
    except (DecodeError, MemoryError) as error:
        return Failure(ref, str(error) or "not enough memory for it", content_hash)
    return Sample(ref, content_hash, photo.width, photo.height, photo.note, pixels, overlay_photo)


def available_cores() -> int:
    """Count the cores allowed to this process; containers often allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hash_file(ref: ImageRef) -> str | None:
    """Compute the content hash of a file; None if it can't be read."""
    try:
        with open(ref.file, "rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return None


def model_pixels(rgb: Pixels, spec: LoadSpec) -> Pixels:
    """Compute the model's input as uint8, (3, H, W): the processor's resize and crop; the rest runs on the device.

    Raises:
        DecodeError: the photo is too narrow for the model's resize.
    """
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


def _read_unchanged(ref: ImageRef) -> tuple[ImageRef, bytes]:
    """Read the file's bytes; return the ref with their size and mtime, and the bytes."""
    with open(ref.file, "rb") as stream:
        before = os.fstat(stream.fileno())
        data = stream.read()
        after = os.fstat(stream.fileno())
    ref = replace(ref, file_bytes=before.st_size, mtime_ns=mtime_ns(before))
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != before.st_size:
        raise DecodeError("it changed while it was read; the next run takes it up again")
    return ref, data


def _overlay_photo(photo: Photo, data: bytes, spec: LoadSpec) -> Pixels | None:
    """Return the photo at the overlay's size, never enlarged, (h, w, 3)."""
    if spec.overlay_size is None:
        return None
    rgb = photo.rgb
    if max(rgb.shape[:2]) < min(spec.overlay_size, max(photo.width, photo.height)):
        rgb = decode(io.BytesIO(data), max_pixels=spec.max_pixels, draft_size=(1, spec.overlay_size)).rgb
    return downscale(rgb, fit_within((photo.width, photo.height), spec.overlay_size))


def _load_in_worker(spec: LoadSpec, ref: ImageRef) -> Sample | Failure:
    import torch

    Image.MAX_IMAGE_PIXELS = None  # `decode` has its own limit, with a reason
    torch.set_num_threads(1)  # fork() copies no threads, so torch would wait forever for its thread pool
    return load_sample(ref, spec)


class PhotoLoader:
    """Decodes photos in worker processes, some batches ahead, and returns them in the order of the refs.

    A crash or a hang of a decoder becomes a `Failure` of its file; the process is replaced.
    """

    def __init__(
        self, spec: LoadSpec, *, workers: Literal["auto"] | int = "auto", decode_seconds: float = DECODE_SECONDS
    ) -> None:
        """Start the workers.

        Args:
            spec: instructions for decoding.
            workers: number of processes; auto: one per core.
            decode_seconds: time limit for one photo.
        """
        # A process forked during an import in another thread waits forever if it imports the same module. So
        # everything needed by a worker is imported before the first thread starts.
        import torch  # noqa: F401

        load_decoders()
        workers = available_cores() if workers == "auto" else workers
        self._workers = [Worker(partial(_load_in_worker, spec)) for _ in range(workers)]
        self._idle: SimpleQueue[Worker[ImageRef, Sample | Failure]] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers)  # one per worker, to feed it while the model computes
        self._seconds = decode_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown()

    def batches(self, refs: Iterable[ImageRef], batch_size: int, stop: Callable[[], bool]) -> Iterator[Batch]:
        """Yield consecutive refs, `batch_size` at a time, until the end or until `stop()` returns true.

        A batch always consists of the same refs, failures included, so a run resumed after an interruption
        forms the same batches as an uninterrupted one.
        """
        waiting: deque[Future[Sample | Failure]] = deque()
        queue = iter(refs)
        while True:
            ahead = 2 * (batch_size + len(self._workers)) - len(waiting)
            waiting.extend(self._threads.submit(self._load_in_idle_worker, ref) for ref in islice(queue, ahead))
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

    def _load_in_idle_worker(self, ref: ImageRef) -> Sample | Failure:
        """Load one photo in an idle worker."""
        worker = self._idle.get()
        try:
            try:
                return worker.run(ref, seconds=self._seconds)
            except WorkerDiedError:  # perhaps a lack of memory and not this photo's fault: try once more
                return worker.run(ref, seconds=self._seconds)
        except WorkerDiedError as error:
            return Failure(ref, f"the decoder crashed ({error})")
        except WorkerTimeoutError:
            return Failure(ref, f"the decoder took longer than {self._seconds:g} s")
        finally:
            self._idle.put(worker)
