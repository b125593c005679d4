"""Refs -> batches of decoded photos. The decoders run in worker processes, so their crashes cost one photo each."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice, takewhile
from queue import SimpleQueue
from typing import IO, Any, BinaryIO, Literal, Self

import numpy as np
from PIL import Image

from pipeline.cores import available_cores
from pipeline.errors import DecodeError, UnjudgedError
from pipeline.photos.content import Content, fetch_object, hash_bytes, hash_unchanged, hold_content, read_content
from pipeline.photos.decode import Photo, decode, load_decoders
from pipeline.photos.limits import DECODE_SECONDS
from pipeline.photos.resize import downscale, fit_within
from pipeline.photos.tiling import Tiling
from pipeline.photos.windows import (
    WINDOWS_A_TASK,
    CutTask,
    cut_windows,
    open_unpacked,
    path_for_workers,
    unpack_photo,
)
from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError
from pipeline.records import Batch, Failure, ImageRef, Pixels, Sample, Tiles
from pipeline.storage.location import is_url


@dataclass(frozen=True)
class _LoadTask:
    """One file to load.

    Attributes:
        ref: the file.
        data: the bytes of an object fetched before; None: read the file.
        unpacked: path of a file for the pixels of a photo of several windows; None if photos are not cut.
    """

    ref: ImageRef
    data: bytes | None
    unpacked: str | None


_Task = _LoadTask | CutTask
_Answer = Sample | Failure | list[Pixels]
_NO_PIXELS = np.empty((0, 0, 0), np.uint8)

# JPEGs are decoded to at least this on the longer side, for any size of the overlay: so the numbers never
# depend on the look of overlays. A larger overlay gets a decode of its own.
DRAFT_LONGER_SIDE = 1024


@dataclass(frozen=True)
class LoadSpec:
    """Instructions for decoding a file.

    Attributes:
        processor: transformers image processor with the Pillow backend.
        draft_shorter_side: pixels needed by the model; None: decode JPEGs in full.
        overlay_size: longest side of the photo kept for the overlay, in pixels; None: keep none.
        max_pixels: refuse photos with more.
        white_level: value shown as white in photos deeper than 8 bits; None: as the file says.
        tiling: how photos are cut into windows; None: not at all.
        unpacked: path of a file for the pixels of a photo of several windows.
    """

    processor: Any
    draft_shorter_side: int | None
    overlay_size: int | None
    max_pixels: int
    white_level: float | None = None
    tiling: Tiling | None = None
    unpacked: str | None = None


def load_sample(ref: ImageRef, spec: LoadSpec) -> Sample | Failure:
    """Read, hash and decode one file; any fault of it becomes a `Failure`."""
    if ref.problem is not None:
        return Failure(ref, ref.problem)
    try:
        with open(ref.file, "rb") as stream:
            content = read_content(ref, stream)
            loaded = _load_content(content, spec)
            content.check_unchanged()
            return loaded
    except OSError as error:
        gone = "; it vanished during the run" if isinstance(error, FileNotFoundError) else ""
        return Failure(ref, f"can't be read: {error.strerror}{gone}")
    except UnjudgedError as error:
        return Failure(ref, str(error))
    except MemoryError:
        return Failure(ref, "can't be read: not enough memory for so large a file")


def group_refs(refs: Iterable[ImageRef], size: int) -> Iterator[Sequence[ImageRef]]:
    """Split refs into groups of `size`, the last one perhaps smaller."""
    queue = iter(refs)
    while group := list(islice(queue, size)):
        yield group


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


def _load_content(content: Content, spec: LoadSpec) -> Sample | Failure:
    """Decode the bytes of a file for model and overlay."""
    try:
        photo = _decode(content.file, spec)
        boxes = spec.tiling.cut(photo.width, photo.height) if spec.tiling else []
        if len(boxes) > 1:
            assert spec.unpacked is not None, "who asks for windows gives a file for the pixels"
            unpack_photo(photo.rgb, spec.unpacked)
        pixels = _NO_PIXELS if len(boxes) > 1 else model_pixels(photo.rgb, spec)
        overlay_photo = _overlay_photo(photo, content.file, spec)
    except (UnjudgedError, MemoryError) as error:
        return Failure(content.ref, str(error) or "not enough memory for it")  # no hash: no verdict on the bytes
    except DecodeError as error:
        return Failure(content.ref, str(error), content.hash)
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # torch has no error of its own for it
            raise
        return Failure(content.ref, "not enough memory for it")
    tiles = Tiles(tuple(boxes)) if boxes else None
    return Sample(content.ref, content.hash, photo.width, photo.height, photo.note, pixels, overlay_photo, tiles)


def _decode(file: BinaryIO, spec: LoadSpec) -> Photo:
    """Decode a file for the model. A photo of several windows is decoded in full."""
    draft = None if spec.draft_shorter_side is None else (spec.draft_shorter_side, DRAFT_LONGER_SIDE)
    return decode(
        file,
        max_pixels=spec.max_pixels,
        draft_size=draft,
        white_level=spec.white_level,
        draft_up_to=spec.tiling.size if spec.tiling else None,
    )


def _overlay_photo(photo: Photo, file: BinaryIO, spec: LoadSpec) -> Pixels | None:
    """Return the photo at the overlay's size, never enlarged, (h, w, 3)."""
    if spec.overlay_size is None:
        return None
    rgb = photo.rgb
    if max(rgb.shape[:2]) < min(spec.overlay_size, max(photo.width, photo.height)):
        draft = (1, spec.overlay_size)
        rgb = decode(file, max_pixels=spec.max_pixels, draft_size=draft, white_level=spec.white_level).rgb
    return downscale(rgb, fit_within((photo.width, photo.height), spec.overlay_size))


def _work_in_worker(spec: LoadSpec, task: _Task) -> _Answer:
    import torch

    Image.MAX_IMAGE_PIXELS = None  # `decode` has its own limit, with a reason
    torch.set_num_threads(1)  # fork() copies no threads, so torch would wait forever for its thread pool
    if isinstance(task, CutTask):
        return cut_windows(task, partial(model_pixels, spec=spec))
    spec = replace(spec, unpacked=task.unpacked)
    return load_sample(task.ref, spec) if task.data is None else _load_content(hold_content(task.ref, task.data), spec)


class PhotoLoader:
    """Decodes photos in worker processes, some batches ahead, and returns them in the order of the refs.

    A crash or a hang of a decoder becomes a `Failure` of its file; the process is replaced.

    Attributes:
        workers: number of processes.
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
        self.workers = available_cores() if workers == "auto" else workers
        self._workers = [Worker(partial(_work_in_worker, spec)) for _ in range(self.workers)]
        self._idle: SimpleQueue[Worker[_Task, _Answer]] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        # to feed the workers while the model computes; those of no worker fetch the next objects
        self._threads = ThreadPoolExecutor(2 * self.workers)
        self._cutters = ThreadPoolExecutor(self.workers)
        self._unpacked: set[IO[bytes]] = set()  # files of photos with windows still to cut
        self._seconds, self._cuts = decode_seconds, spec.tiling is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pools = (self._threads, self._cutters)
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.stop()
        for pool in pools:
            pool.shutdown()
        for unpacked in list(self._unpacked):
            self._close(unpacked)

    def batches(self, refs: Iterable[ImageRef], batch_size: int, stop: Callable[[], bool]) -> Iterator[Batch]:
        """Yield consecutive refs, `batch_size` at a time, until the end or until `stop()` returns true.

        A batch always consists of the same refs, failures included, so a run resumed after an interruption
        forms the same batches as an uninterrupted one.
        """
        return self.load_groups(group_refs(refs, batch_size), stop)

    def load_groups(self, groups: Iterable[Sequence[ImageRef]], stop: Callable[[], bool]) -> Iterator[Batch]:
        """Yield one batch for each group of refs, until the end or until `stop()` returns true.

        Decoding runs some groups ahead. A group is taken from its iterable when its turn to be decoded has come.
        """
        waiting: deque[Sequence[Future[Sample | Failure]]] = deque()
        queue = iter(groups)
        while True:
            while not waiting or sum(map(len, waiting)) < 2 * (len(waiting[0]) + len(self._workers)):
                if (group := next(queue, None)) is None:
                    break
                waiting.append([self._threads.submit(self._load_in_idle_worker, ref) for ref in group])
            if not waiting:
                return
            results: list[Sample | Failure] = []
            for future in waiting.popleft():
                if stop():
                    return
                while not wait([future], timeout=0.2).done:
                    if stop():
                        return
                results.append(future.result())
            yield Batch(
                samples=tuple(result for result in results if isinstance(result, Sample)),
                failures=tuple(result for result in results if isinstance(result, Failure)),
            )

    def windows(self, sample: Sample) -> Iterator[Pixels]:
        """Yield the model's input, (3, H, W), of each window of a photo; some are cut ahead.

        Raises:
            DecodeError: a window can't be cut; the message gives the reason.
        """
        if sample.tiles is None or sample.tiles.unpacked is None:
            yield sample.pixels
            return
        path, size = path_for_workers(sample.tiles.unpacked), (sample.width, sample.height)
        parts = (sample.tiles.boxes[start : start + WINDOWS_A_TASK] for start in count(0, WINDOWS_A_TASK))
        tasks = (CutTask(path, size, boxes) for boxes in takewhile(len, parts))
        waiting: deque[Future[_Answer]] = deque()
        try:
            while True:
                ahead = islice(tasks, 1 + self.workers - len(waiting))
                waiting.extend(self._cutters.submit(self._run_in_idle_worker, task) for task in ahead)
                if not waiting:
                    return
                try:
                    windows = waiting.popleft().result()
                except (WorkerDiedError, WorkerTimeoutError) as error:
                    raise UnjudgedError(f"its windows can't be cut: {error or 'out of time'}") from None
                assert isinstance(windows, list)
                yield from windows
        finally:
            self._close(sample.tiles.unpacked)

    def _close(self, unpacked: IO[bytes]) -> None:
        self._unpacked.discard(unpacked)
        unpacked.close()

    def _load_in_idle_worker(self, ref: ImageRef) -> Sample | Failure:
        """Load one photo in an idle worker. Objects are fetched here: a client doesn't survive a fork."""
        try:
            data = fetch_object(ref) if is_url(ref.file) and ref.problem is None else None
        except (FileNotFoundError, UnjudgedError) as error:
            gone = "can't be read: no such object; it vanished during the run"
            return Failure(ref, gone if isinstance(error, FileNotFoundError) else str(error))
        if not self._cuts:
            return self._load_in_worker(_LoadTask(ref, data, None))
        unpacked = open_unpacked()
        self._unpacked.add(unpacked)
        loaded = self._load_in_worker(_LoadTask(ref, data, path_for_workers(unpacked)))
        if isinstance(loaded, Sample) and loaded.tiles and len(loaded.tiles.boxes) > 1:
            return replace(loaded, tiles=replace(loaded.tiles, unpacked=unpacked))
        self._close(unpacked)
        return loaded

    def _load_in_worker(self, task: _LoadTask) -> Sample | Failure:
        ref, data = task.ref, task.data
        try:
            loaded = self._run_in_idle_worker(task)
            assert not isinstance(loaded, list)
            return loaded
        except WorkerDiedError as error:
            if error.blames_task:
                content_hash = hash_unchanged(ref) if data is None else hash_bytes(data)
                return Failure(ref, f"the decoder crashed ({error})", content_hash)
            return Failure(ref, f"the decoder was killed, perhaps for want of memory ({error})")
        except WorkerTimeoutError:
            return Failure(ref, f"the decoder took longer than {self._seconds:g} s")

    def _run_in_idle_worker(self, task: _Task) -> _Answer:
        worker = self._idle.get()
        try:
            return worker.run(task, seconds=self._seconds)
        except WorkerDiedError:  # perhaps a lack of memory and not this photo's fault: try once more
            return worker.run(task, seconds=self._seconds)
        finally:
            self._idle.put(worker)
