"""Refs -> batches of decoded photos. The decoders run in worker processes, so their crashes cost one photo each."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Literal, Self, TypeVar

from PIL import Image

from pipeline.cores import available_cores
from pipeline.errors import StoppedError, UnjudgedError
from pipeline.photos.content import fetch_object, hash_bytes, hash_unchanged, hold_content
from pipeline.photos.decode import load_decoders
from pipeline.photos.limits import DECODE_SECONDS
from pipeline.photos.load_photo import LoadSpec, keep_unpacked, load_content, load_sample, model_pixels
from pipeline.photos.windows import (
    WINDOWS_A_TASK,
    CutTask,
    UnpackedPhoto,
    cut_windows,
)
from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError
from pipeline.records import Batch, Failure, ImageRef, PixelBox, Pixels, Sample
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
Item = TypeVar("Item")


def in_groups(items: Iterable[Item], size: int) -> Iterator[Sequence[Item]]:
    """Split items into groups of `size`, the last one perhaps smaller."""
    queue = iter(items)
    while group := tuple(islice(queue, size)):
        yield group


def _work_in_worker(spec: LoadSpec, task: _Task) -> _Answer:
    import torch

    Image.MAX_IMAGE_PIXELS = None  # `decode` has its own limit, with a reason
    torch.set_num_threads(1)  # fork() copies no threads, so torch would wait forever for its thread pool
    if isinstance(task, CutTask):
        return cut_windows(task, partial(model_pixels, spec=spec))
    spec = replace(spec, unpacked=task.unpacked)
    return load_sample(task.ref, spec) if task.data is None else load_content(hold_content(task.ref, task.data), spec)


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
        self._seconds, self._spec = decode_seconds, spec

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

    def batches(self, refs: Iterable[ImageRef], batch_size: int, stop: Callable[[], bool]) -> Iterator[Batch]:
        """Yield consecutive refs, `batch_size` at a time, until the end or until `stop()` returns true.

        A batch always consists of the same refs, failures included, so a run resumed after an interruption
        forms the same batches as an uninterrupted one.
        """
        return self.load_groups(in_groups(refs, batch_size), stop)

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

    def windows(
        self, sample: Sample, boxes: Sequence[PixelBox] | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Pixels]:
        """Yield the model's input, (3, H, W), of windows of a photo; some are cut ahead.

        Args:
            sample: the photo.
            boxes: some of its windows; None: all of them.
            stop: asked between windows: a photo of thousands takes minutes.

        Raises:
            DecodeError: a window can't be cut; the message gives the reason.
            StoppedError: `stop()` returned true.
        """
        tiles = sample.tiles
        if tiles is None or tiles.unpacked is None:
            yield sample.pixels
            return
        path, size = tiles.unpacked.path, (sample.width, sample.height)
        groups = in_groups(tiles.boxes if boxes is None else boxes, WINDOWS_A_TASK)
        waiting: deque[Future[_Answer]] = deque()
        while True:
            if stop():
                raise StoppedError("stopped in the middle of a photo; run the same command again")
            for group in islice(groups, 1 + self.workers - len(waiting)):
                waiting.append(self._cutters.submit(self._run_in_idle_worker, CutTask(path, size, tuple(group))))
            if not waiting:
                return
            try:
                windows = waiting.popleft().result()
            except (WorkerDiedError, WorkerTimeoutError) as error:
                reason = "out of time" if isinstance(error, WorkerTimeoutError) else str(error)
                raise UnjudgedError(f"its windows can't be cut ({reason})") from None
            assert isinstance(windows, list)
            yield from windows

    def _load_in_idle_worker(self, ref: ImageRef) -> Sample | Failure:
        """Load one photo in an idle worker. Objects are fetched here: a client doesn't survive a fork."""
        try:
            data = fetch_object(ref) if is_url(ref.file) and ref.problem is None else None
        except (FileNotFoundError, UnjudgedError) as error:
            gone = "can't be read: no such object; it vanished during the run"
            return Failure(ref, gone if isinstance(error, FileNotFoundError) else str(error))
        if self._spec.tiling is None:
            return self._load_in_worker(_LoadTask(ref, data, None))
        try:
            unpacked = UnpackedPhoto()
        except OSError as error:
            return Failure(ref, f"no temporary file for its pixels: {error.strerror or error}; set TMPDIR")
        loaded = self._load_in_worker(_LoadTask(ref, data, unpacked.path))
        return keep_unpacked(loaded, unpacked) if isinstance(loaded, Sample) else loaded

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
