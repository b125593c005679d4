"""The photos drawn in the workers: those that stay there until then, and those decoded once more for it."""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.errors import UnjudgedError
from pipeline.photos.content import fetch_object
from pipeline.photos.file_loader import FileLoader
from pipeline.photos.kept_photo import KeptPhoto, PhotoLostError, PhotoPlace
from pipeline.photos.load_tasks import Finished, FinishTask, Task
from pipeline.photos.messenger import Messenger
from pipeline.photos.team import Seat, WorkerTeam
from pipeline.photos.worker_process import WorkerDiedError, WorkerTimeoutError
from pipeline.records import Failure
from pipeline.storage.location import is_url

_REDRAWS = 2  # of a photo whose worker died


@dataclass(frozen=True, eq=False)
class _FinishOrder:
    """A photo to finish where it is kept, and the place of the result."""

    place: PhotoPlace
    argument: Any
    future: Future[Any]

    def answer(self, finished: Finished) -> None:
        """Set the result."""
        if finished.error is not None:
            self.future.set_exception(finished.error)
        else:
            self.future.set_result(finished.result)


class PhotoKeeper:
    """Finishes photos where they are kept, or decodes them once more; see `pipeline.photos.kept_photo.Keeper`."""

    def __init__(self, team: WorkerTeam[Task, Any], messenger: Messenger, files: FileLoader) -> None:
        """Set up.

        Args:
            team: the workers.
            messenger: to them.
            files: loads lost photos again.
        """
        self._team, self._messenger, self._files = team, messenger, files
        self._finishing: list[deque[_FinishOrder]] = [deque() for _ in range(team.workers)]

    def finish(self, kept: KeptPhoto, argument: Any) -> Future[Any]:
        """Finish a photo in the worker that keeps it, or in any; `PhotoLostError` if that has ended."""
        if kept.place is None:
            return self._team.submit(partial(self._load_and_finish, kept, None, argument), first=True)
        order = _FinishOrder(kept.place, argument, Future())
        orders = self._finishing[kept.place.seat]
        orders.append(order)
        if len(orders) == 1:  # those that follow until its turn comes go with it
            self._team.submit(self._finish_kept, only=kept.place.seat)
        return order.future

    def finish_again(self, kept: KeptPhoto, argument: Any) -> Any:
        """Decode a lost photo once more, and finish it.

        Raises:
            UnjudgedError: it can't be decoded again, has changed since, or ends every worker.
        """
        for _ in range(_REDRAWS):
            try:
                data = fetch_object(kept.ref) if is_url(kept.ref.file) else None
                return self._team.submit(partial(self._load_and_finish, kept, data, argument)).result()
            except PhotoLostError:
                continue
            except FileNotFoundError:
                raise UnjudgedError("its object vanished during the run") from None
        raise UnjudgedError("it ends the process that draws it")

    def drop(self, place: PhotoPlace) -> None:
        """Let the worker forget a photo."""
        self._messenger.drop(place.seat, place.generation, place.ticket)

    def _finish_kept(self, seat: Seat[Task, Any]) -> None:
        """Finish the photos that wait for it in one worker."""
        waiting = self._finishing[seat.number]
        here: list[_FinishOrder] = []
        while waiting:  # until it is empty: later ones have a job of their own
            order = waiting.popleft()
            if order.place.generation == seat.worker.generation:
                here.append(order)
            else:
                order.future.set_exception(PhotoLostError())
        if not here:
            return
        try:
            answers = self._messenger.run(seat, [FinishTask(order.place.ticket, order.argument) for order in here])
        except Exception as error:
            is_lost = isinstance(error, WorkerDiedError | WorkerTimeoutError)
            for order in here:
                order.future.set_exception(PhotoLostError() if is_lost else error)
            return
        for order, answer in zip(here, answers, strict=True):
            order.answer(answer)

    def _load_and_finish(self, kept: KeptPhoto, data: bytes | None, argument: Any, seat: Seat[Task, Any]) -> Any:
        task = self._files.order_overlay(kept.ref, data)
        loaded = self._run_or_lose(seat, task).result
        if isinstance(loaded, Failure):
            raise UnjudgedError(loaded.reason)
        if loaded.content_hash != kept.content_hash:
            assert task.ticket is not None
            self.drop(PhotoPlace(seat.number, seat.worker.generation, task.ticket))
            raise UnjudgedError("it has changed meanwhile")
        assert task.ticket is not None
        finished: Finished = self._run_or_lose(seat, FinishTask(task.ticket, argument))
        if finished.error is not None:
            raise finished.error
        return finished.result

    def _run_or_lose(self, seat: Seat[Task, Any], task: Task) -> Any:
        try:
            return self._messenger.run(seat, [task])[0]
        except (WorkerDiedError, WorkerTimeoutError):
            raise PhotoLostError from None
