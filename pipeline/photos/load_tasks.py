"""What the workers of a `PhotoLoader` do. Photos for overlays may stay in a worker until their map is known."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from PIL import Image

from pipeline.photos.content import hold_content
from pipeline.photos.load_photo import LoadSpec, load_content, load_sample, model_pixels
from pipeline.photos.pixel_pool import PixelPool
from pipeline.photos.windows import CutTask, cut_windows
from pipeline.records import Failure, ImageRef, Pixels, Sample

_ELSEWHERE = np.empty((0, 0, 0), np.uint8)  # pixels in the pool

Finish = Callable[[Pixels, Any], Any]


@dataclass(frozen=True)
class LoadTask:
    """One file to load.

    Attributes:
        ref: the file.
        data: the bytes of an object fetched before; None: read the file.
        unpacked: path of a file for the pixels of a photo of several windows; None if photos are not cut.
        ticket: name of the photo for the overlay, which stays in the worker; None: it is part of the answer, if wanted.
        place: in the pool, for the model's input; None: it is part of the answer.
        wanted: the model's input, the photo for the overlay, or both.
    """

    ref: ImageRef
    data: bytes | None = None
    unpacked: str | None = None
    ticket: int | None = None
    place: int | None = None
    wanted: Literal["both", "input", "overlay"] = "both"


@dataclass(frozen=True)
class Loaded:
    """The answer to a `LoadTask`.

    Attributes:
        result: the photo, or the reason for its failure.
        in_place: the model's input is in the pool.
        is_kept: the photo for the overlay stays in the worker.
    """

    result: Sample | Failure
    in_place: bool = False
    is_kept: bool = False


@dataclass(frozen=True)
class FinishTask:
    """Call `finish` with the photo of a ticket, which is forgotten then, and an argument."""

    ticket: int
    argument: Any


@dataclass(frozen=True)
class Finished:
    """The answer to a `FinishTask`: the result of the function, or its exception."""

    result: Any
    error: Exception | None = None


@dataclass(frozen=True)
class DropTask:
    """Forget photos that nobody will finish."""

    tickets: tuple[int, ...]


Task = LoadTask | FinishTask | DropTask | CutTask


class WorkerFunction:
    """Runs the tasks of one worker."""

    def __init__(self, spec: LoadSpec, finish: Finish | None, pool: PixelPool | None) -> None:
        """Set up, in the main process; each worker has a copy."""
        self._specs = {"both": spec, "input": spec.for_input(), "overlay": spec.for_overlay()}
        self._finish, self._pool = finish, pool
        self._kept: dict[int, Pixels] = {}

    def __call__(self, task: Task) -> Any:
        """Run one task."""
        import torch

        Image.MAX_IMAGE_PIXELS = None  # `decode` has its own limit, with a reason
        torch.set_num_threads(1)  # fork() copies no threads, so torch would wait forever for its thread pool
        if isinstance(task, LoadTask):
            return self._load(task)
        if isinstance(task, CutTask):
            return cut_windows(task, partial(model_pixels, spec=self._specs["both"]))
        if isinstance(task, DropTask):
            for ticket in task.tickets:
                del self._kept[ticket]
            return None
        assert self._finish is not None
        photo = self._kept.pop(task.ticket)
        try:
            return Finished(self._finish(photo, task.argument))
        except Exception as error:
            return Finished(None, error)

    def _load(self, task: LoadTask) -> Loaded:
        spec = self._specs[task.wanted]
        if task.unpacked is not None:
            spec = replace(spec, unpacked=task.unpacked)
        if task.data is None:
            loaded = load_sample(task.ref, spec)
        else:
            loaded = load_content(hold_content(task.ref, task.data), spec)
        if isinstance(loaded, Failure):
            return Loaded(loaded)
        photo, is_kept = loaded.photo, False
        if task.ticket is not None and photo is not None:
            self._kept[task.ticket], photo, is_kept = photo, None, True
        in_place = task.place is not None and self._pool is not None and self._pool.write(task.place, loaded.pixels)
        pixels = _ELSEWHERE if in_place else loaded.pixels
        return Loaded(replace(loaded, photo=photo, pixels=pixels), in_place, is_kept)
