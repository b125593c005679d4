"""Refs -> batches of decoded photos. The decoders run in worker processes, so their crashes cost one photo each.

    a group of refs -> tasks of a few photos -> workers -> pixels in shared memory -> a batch, in the order of the refs
                                                  | a photo for an overlay stays where it was decoded,
    finish(photo, map ...) ---------------------> until it is drawn there, or is decoded once more

torch's DataLoader has no place for the last step: its workers answer with batches alone, so photos or pictures would
pass through the main process, for 0.23 ms a photo of 300x300 instead of 0.05. It also gives up as a whole if a worker
dies, and its batches in flight have to fit into /dev/shm: 154 MB for batches of 256 photos, where a container has 64.
docs/performance.md has the figures of both. Batches are stacked in pinned memory by `pipeline.model.transfer`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from typing import Any, Literal, Self, TypeVar

from pipeline.cores import available_cores
from pipeline.errors import StoppedError, UnjudgedError
from pipeline.photos.content import fetch_object
from pipeline.photos.decode import load_decoders
from pipeline.photos.file_loader import FileLoader, Result
from pipeline.photos.limits import DECODE_SECONDS
from pipeline.photos.load_photo import LoadSpec
from pipeline.photos.load_tasks import Finish, Task, WorkerFunction
from pipeline.photos.messenger import Messenger
from pipeline.photos.photo_keeper import PhotoKeeper
from pipeline.photos.pixel_pool import PixelPool
from pipeline.photos.team import Seat, WorkerTeam
from pipeline.photos.windows import WINDOWS_A_TASK, CutTask
from pipeline.photos.worker_process import WorkerDiedError, WorkerTimeoutError
from pipeline.records import Batch, Failure, ImageRef, PixelBox, Pixels, Sample
from pipeline.storage.location import is_url

_PHOTOS_A_TASK = 8  # at most: a message costs as much as a small photo

Item = TypeVar("Item")


def in_groups(items: Iterable[Item], size: int) -> Iterator[Sequence[Item]]:
    """Split items into groups of `size`, the last one perhaps smaller."""
    queue = iter(items)
    while group := tuple(islice(queue, size)):
        yield group


class PhotoLoader:
    """Decodes photos in worker processes, some batches ahead, and returns them in the order of the refs.

    A crash or a hang of a decoder becomes a `Failure` of its file; the process is replaced.

    Attributes:
        num_workers: number of processes.
    """

    def __init__(
        self,
        spec: LoadSpec,
        *,
        num_workers: Literal["auto"] | int = "auto",
        prefetch_factor: int = 2,
        decode_seconds: float = DECODE_SECONDS,
        finish: Finish | None = None,
    ) -> None:
        """Start the workers.

        Args:
            spec: instructions for decoding.
            num_workers: number of processes; auto: one per core.
            prefetch_factor: batches to decode ahead.
            decode_seconds: time limit for one photo.
            finish: called in a worker with the photo for the overlay and an argument, see `Sample.kept`; None: photos
                for overlays are part of the samples.
        """
        # A process forked during an import in another thread waits forever if it imports the same module. So
        # everything needed by a worker is imported before the first thread starts.
        import torch  # noqa: F401

        load_decoders()
        self.num_workers = available_cores() if num_workers == "auto" else num_workers
        pool = PixelPool.for_input(spec.input_size) if spec.input_size else None
        self._prefetch_factor = prefetch_factor
        self._team: WorkerTeam[Task, Any] = WorkerTeam(WorkerFunction(spec, finish, pool), self.num_workers)
        self._messenger = Messenger(self.num_workers, decode_seconds)
        self._files = FileLoader(self._messenger, spec, pool, finishes=finish is not None)
        self._keeper = PhotoKeeper(self._team, self._messenger, self._files)
        self._fetchers = ThreadPoolExecutor(2 * self.num_workers)  # of objects

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._fetchers.shutdown(wait=False, cancel_futures=True)
        self._team.close()
        self._fetchers.shutdown()

    def choose_kept(self, keeps: Callable[[ImageRef], bool]) -> None:
        """Tell which photos to be finished stay in their workers: all, or where few are finished, those likely to be.

        The others are decoded once more if they are finished, and need no photo for an overlay and no memory if not.
        """
        self._files.keeps = keeps

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
        waiting: deque[tuple[int, list[Future[list[Result]]]]] = deque()  # photos of a group, and its tasks
        queue = iter(groups)
        while True:
            while not waiting or self._is_short(waiting[0][0], sum(size for size, _ in waiting)):
                if (group := next(queue, None)) is None:
                    break
                waiting.append((len(group), self._submit_group(group)))
            if not waiting:
                return
            results: list[Result] = []
            for future in waiting.popleft()[1]:
                while not wait([future], timeout=0.2).done:
                    if stop():
                        return
                for result in future.result():
                    if stop():
                        return
                    results.append(result)
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
        waiting: deque[Future[list[Pixels]]] = deque()
        while True:
            if stop():
                raise StoppedError("stopped in the middle of a photo; run the same command again")
            for group in islice(groups, 1 + self.num_workers - len(waiting)):
                task = CutTask(path, size, tuple(group))
                waiting.append(self._team.submit(partial(self._cut, task), first=True))
            if not waiting:
                return
            try:
                windows = waiting.popleft().result()
            except (WorkerDiedError, WorkerTimeoutError) as error:
                raise UnjudgedError(f"its windows can't be cut ({error})") from None
            yield from windows

    def _is_short(self, batch: int, ahead: int) -> bool:
        """Tell whether more photos should be decoded ahead, beside so many; `batch`: size of the next batch."""
        return ahead < self._prefetch_factor * (batch + self.num_workers)

    def _submit_group(self, group: Sequence[ImageRef]) -> list[Future[list[Result]]]:
        """Queue the photos of a group, a few for each task; an object is fetched first, by itself."""
        photos_a_task = max(1, min(_PHOTOS_A_TASK, len(group) // (2 * self.num_workers)))
        futures: list[Future[list[Result]]] = []
        files: list[ImageRef] = []
        for ref in group:
            is_object = is_url(ref.file) and ref.problem is None
            if files and (is_object or len(files) == photos_a_task):
                futures.append(self._team.submit(partial(self._files.load, tuple(files), None, self._keeper)))
                files = []
            if is_object:
                futures.append(self._fetchers.submit(self._load_object, ref))
            else:
                files.append(ref)
        if files:
            futures.append(self._team.submit(partial(self._files.load, tuple(files), None, self._keeper)))
        return futures

    def _load_object(self, ref: ImageRef) -> list[Result]:
        """Fetch an object, here: a client doesn't survive a fork. Then load it."""
        try:
            data = fetch_object(ref)
        except (FileNotFoundError, UnjudgedError) as error:
            gone = "can't be read: no such object; it vanished during the run"
            return [Failure(ref, gone if isinstance(error, FileNotFoundError) else str(error))]
        loaded: list[Result] = self._team.submit(partial(self._files.load, (ref,), data, self._keeper)).result()
        return loaded

    def _cut(self, task: CutTask, seat: Seat[Task, Any]) -> list[Pixels]:
        try:
            (windows,) = self._messenger.run(seat, [task])
        except WorkerDiedError:  # perhaps for a lack of memory
            (windows,) = self._messenger.run(seat, [task])
        cut: list[Pixels] = windows
        return cut
