"""A photo that stays in the worker that decoded it, until it is drawn there or nobody needs it."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.records import ImageRef


class PhotoLostError(Exception):
    """The worker that kept a photo has ended."""


class Keeper(Protocol):
    """The loader, as its photos know it."""

    def finish(self, kept: "KeptPhoto", argument: Any) -> "Future[Any]":
        """Finish a photo where it is kept, or decode it once more; `PhotoLostError` if it is lost."""
        ...

    def finish_again(self, kept: "KeptPhoto", argument: Any) -> Any:
        """Decode a lost photo once more, and finish it."""
        ...

    def drop(self, place: "PhotoPlace") -> None:
        """Forget a photo."""
        ...


@dataclass(frozen=True)
class PhotoPlace:
    """The place of a photo that stays in its worker.

    Attributes:
        seat: number of the worker.
        generation: of that worker's process.
        ticket: name of the photo there.
    """

    seat: int
    generation: int
    ticket: int


class KeptPhoto:
    """One photo; see `pipeline.records.KeptPhoto`.

    Attributes:
        ref: the file.
        content_hash: of its bytes.
        place: where it is; None: nowhere, so that it is decoded once more if it is to be finished.
    """

    def __init__(self, keeper: Keeper, ref: ImageRef, content_hash: str, place: PhotoPlace | None) -> None:
        """Remember the place."""
        self.ref, self.content_hash, self.place = ref, content_hash, place
        self._keeper = keeper
        self._place_to_free = place

    def start(self, argument: Any) -> "PendingFinish":
        """Begin to finish the photo in a worker, once."""
        self._place_to_free = None
        return PendingFinish(self._keeper, self, argument)

    def __del__(self) -> None:
        """Let the worker forget a photo that was never finished."""
        if self._place_to_free:
            self._keeper.drop(self._place_to_free)


class PendingFinish:
    """The result to come of a photo being finished."""

    def __init__(self, keeper: Keeper, kept: KeptPhoto, argument: Any) -> None:
        """Begin."""
        self._keeper, self._kept, self._argument = keeper, kept, argument
        self._future = keeper.finish(kept, argument)

    def result(self) -> Any:
        """Wait for the result. A photo lost with its worker is decoded again.

        Raises:
            UnjudgedError: it can't be decoded again, or has changed since.
            Exception: of the function called in the worker.
        """
        try:
            return self._future.result()
        except PhotoLostError:
            return self._keeper.finish_again(self._kept, self._argument)
