"""Pictures made from photos, in worker processes: a crash of a decoder costs one picture, not the server."""

import io
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

from pipeline.errors import DecodeError
from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError
from pipeline.records import Box, Floats

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_SIDE = 320  # pixels
_MAP_SIDE = 1600
_WORKERS = 2
_SECONDS = 60.0


@dataclass(frozen=True)
class RenditionTask:
    """One picture to make.

    Attributes:
        kind: photo: upright, in full, as PNG; small: a thumbnail, as JPEG; left half: a thumbnail from one of the
            run's, with photo and overlay side by side; map: a map over the photo, as PNG.
        content: of the file.
        max_pixels, white_level: for the decoder, as in the run.
        heat: map, (grid_h, grid_w), raw.
        box: part of the photo under the map, in upright pixels.
    """

    kind: Literal["photo", "small", "left half", "map"]
    content: bytes
    max_pixels: int | None = None
    white_level: float | None = None
    heat: Floats | None = None
    box: Box | None = None


class Renderer:
    """Makes pictures in a few worker processes. Safe for use by several threads."""

    def __init__(self) -> None:
        """Start the processes, before any thread of this one: a fork copies locks, but not the threads to open them."""
        self._workers = [Worker(_render_in_worker) for _ in range(_WORKERS)]
        self._idle: SimpleQueue[Worker[RenditionTask, bytes]] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def render(self, task: RenditionTask) -> bytes:
        """Make a picture.

        Raises:
            DecodeError: the photo can't be decoded.
        """
        with self._take_worker() as worker:
            try:
                return worker.run(task, seconds=_SECONDS)
            except WorkerDiedError as error:
                raise DecodeError(f"the decoder crashed ({error})") from None
            except WorkerTimeoutError:
                raise DecodeError(f"the decoder took longer than {_SECONDS:g} s") from None

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()

    @contextmanager
    def _take_worker(self) -> "Iterator[Worker[RenditionTask, bytes]]":
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)


def _render_in_worker(task: RenditionTask) -> bytes:
    _close_network_sockets()
    return render(task)


def render(task: RenditionTask) -> bytes:
    """Make a picture in this process; raises DecodeError."""
    from PIL import Image

    if task.kind == "left half":
        with Image.open(io.BytesIO(task.content), formats=["JPEG"]) as both:
            return _encode_jpeg(both.crop((0, 0, both.width // 2, both.height)))
    from pipeline.photos.decode import decode

    sides = {"photo": None, "small": (1, THUMBNAIL_SIDE), "map": (1, _MAP_SIDE)}
    photo = decode(
        io.BytesIO(task.content),
        max_pixels=task.max_pixels or MAX_PIXELS,
        draft_size=sides[task.kind],
        white_level=task.white_level,
    )
    if task.kind == "photo":
        from pipeline.overlays.png import encode_png

        return encode_png(photo.rgb)
    picture = Image.fromarray(photo.rgb)
    if task.kind == "small":
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return _encode_jpeg(picture)
    picture.thumbnail((_MAP_SIDE, _MAP_SIDE))
    return _draw_map(task, picture, (photo.width, photo.height))


def _draw_map(task: RenditionTask, picture: "Image.Image", size: tuple[int, int]) -> bytes:
    import numpy as np

    from pipeline.maps.geometry import scale_box
    from pipeline.overlays.draw import OverlayLook, draw_overlay
    from pipeline.overlays.png import encode_png

    if task.heat is None or task.box is None:
        raise ValueError("a map needs its cells and its box")
    box = scale_box(task.box, size, picture.size)
    heat = np.maximum(task.heat, 0)  # negative values speak against a label
    return encode_png(np.asarray(draw_overlay(np.asarray(picture), heat, box, OverlayLook())))


def _encode_jpeg(picture: "Image.Image") -> bytes:
    jpeg = io.BytesIO()
    picture.convert("RGB").save(jpeg, "JPEG", quality=80)
    return jpeg.getvalue()


def _close_network_sockets() -> None:
    """Close the server's sockets copied by a fork: a worker would keep the port of a killed server."""
    for name in os.listdir("/dev/fd"):
        try:
            copy = socket.socket(fileno=int(name))
        except OSError:  # not a socket
            continue
        if copy.family in (socket.AF_INET, socket.AF_INET6):
            copy.close()
        else:
            copy.detach()
