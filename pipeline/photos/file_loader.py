"""Files -> samples and failures, with one worker. A file that ends its worker costs no other."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.photos.content import hash_bytes, hash_unchanged
from pipeline.photos.kept_photo import Keeper, KeptPhoto, PhotoPlace
from pipeline.photos.load_photo import LoadSpec, keep_unpacked
from pipeline.photos.load_tasks import Loaded, LoadTask, Task
from pipeline.photos.messenger import Messenger
from pipeline.photos.pixel_pool import PixelPool
from pipeline.photos.team import Seat
from pipeline.photos.windows import UnpackedPhoto
from pipeline.photos.worker_process import WorkerDiedError, WorkerTimeoutError
from pipeline.records import Failure, ImageRef, Sample

Result = Sample | Failure


@dataclass(frozen=True)
class LoadOrder:
    """A file to load, and the file for its pixels if it may have several windows."""

    task: LoadTask
    unpacked: UnpackedPhoto | None = None


class FileLoader:
    """Loads files.

    Attributes:
        keeps: tells which photos to be finished stay in the workers; others are decoded once more.
    """

    keeps: Callable[[ImageRef], bool]

    def __init__(self, messenger: Messenger, spec: LoadSpec, pool: PixelPool | None, *, finishes: bool) -> None:
        """Set up.

        Args:
            messenger: to the workers.
            spec: instructions for decoding.
            pool: for the model's input; None: it is part of the answers.
            finishes: photos for overlays are finished in the workers, see `PhotoLoader`.
        """
        self._messenger, self._spec, self._pool = messenger, spec, pool
        self._finishes = finishes and spec.overlay_size is not None
        self.keeps = lambda ref: True
        self._tickets = itertools.count()

    def load(
        self, refs: Sequence[ImageRef], data: bytes | None, keeper: Keeper, seat: Seat[Task, Any]
    ) -> list[Result]:  # fmt: skip
        """Load files with the worker of a place. One that ends it is tried once more by itself.

        Args:
            refs: the files.
            data: the bytes of an object, fetched before; None: files.
            keeper: of the photos that stay in the worker.
            seat: the place.
        """
        results: dict[int, Result] = {}
        orders: dict[int, LoadOrder] = {}
        for number, ref in enumerate(refs):
            try:
                orders[number] = self._order(ref, data)
            except OSError as error:
                results[number] = Failure(ref, f"no temporary file for its pixels: {error.strerror}; set TMPDIR")
        suspects: set[int] = set()
        while left := [number for number in orders if number not in results]:
            now = [number for number in left if number not in suspects] or left[:1]
            try:
                answers = self._messenger.run(seat, [orders[number].task for number in now])
            except WorkerTimeoutError as error:
                task = orders[now[error.done]].task
                results[now[error.done]] = self._fail(
                    task, f"the decoder took longer than {self._messenger.seconds:g} s"
                )
            except WorkerDiedError as error:  # perhaps for a lack of memory, and not by this photo
                number = now[error.done]
                if number in suspects:
                    results[number] = self._blame(orders[number].task, error)
                suspects.add(number)
            else:
                results |= {
                    number: self._receive(seat, orders[number], answer, keeper)
                    for number, answer in zip(now, answers, strict=True)
                }
        return [results[number] for number in range(len(refs))]

    def _order(self, ref: ImageRef, data: bytes | None) -> LoadOrder:
        """Prepare a task; OSError: there is no temporary file for the pixels of its windows."""
        unpacked = UnpackedPhoto() if self._spec.tiling and ref.problem is None else None
        place = self._pool.take() if self._pool and ref.problem is None else None
        is_kept = self._finishes and self.keeps(ref)
        return LoadOrder(
            LoadTask(
                ref, data, unpacked.path if unpacked else None, next(self._tickets) if is_kept else None, place,
                "input" if self._finishes and not is_kept else "both",
            ),
            unpacked,
        )  # fmt: skip

    def order_overlay(self, ref: ImageRef, data: bytes | None) -> LoadTask:
        """Prepare a task for a photo that stays in its worker, without the model's input."""
        return LoadTask(ref, data, ticket=next(self._tickets), wanted="overlay")

    def _receive(self, seat: Seat[Task, Any], order: LoadOrder, answer: Loaded, keeper: Keeper) -> Result:
        task, loaded = order.task, answer.result
        if not answer.in_place:
            self._give_back(task)
        if isinstance(loaded, Failure):
            return loaded
        changes: dict[str, Any] = {}
        if answer.in_place and self._pool is not None and task.place is not None:
            changes["pixels"] = self._pool.read(task.place)
        if self._finishes:
            place = None
            if answer.is_kept and task.ticket is not None:
                place = PhotoPlace(seat.number, seat.worker.generation, task.ticket)
            changes["kept"] = KeptPhoto(keeper, task.ref, loaded.content_hash, place)
        return keep_unpacked(replace(loaded, **changes) if changes else loaded, order.unpacked)

    def _fail(self, task: LoadTask, reason: str, content_hash: str | None = None) -> Failure:
        self._give_back(task)
        return Failure(task.ref, reason, content_hash)

    def _blame(self, task: LoadTask, error: WorkerDiedError) -> Failure:
        if not error.blames_task:
            return self._fail(task, f"the decoder was killed, perhaps for want of memory ({error})")
        content_hash = hash_unchanged(task.ref) if task.data is None else hash_bytes(task.data)
        return self._fail(task, f"the decoder crashed ({error})", content_hash)

    def _give_back(self, task: LoadTask) -> None:
        """Free the place of a task that needs none."""
        if self._pool is not None and task.place is not None:
            self._pool.give_back(task.place)
