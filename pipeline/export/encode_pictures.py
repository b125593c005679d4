"""Photos no reader would take as they are -> upright 8-bit PNG files, by the decoder of the model."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from PIL import Image

from pipeline.cores import available_cores
from pipeline.errors import DecodeError, StoppedError
from pipeline.export.dataset import ExportPhoto, Window
from pipeline.overlays.png import encode_png
from pipeline.photos.content import read_content
from pipeline.photos.decode import decode, load_decoders
from pipeline.photos.limits import DECODE_SECONDS, MAX_PIXELS
from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError
from pipeline.records import ImageRef, Pixels

Reason = tuple[str, str | None]


@dataclass(frozen=True)
class DecodeRules:
    """The settings of the run behind a table, for the same pixels.

    Attributes:
        max_pixels: refuse photos with more.
        white_level: value shown as white in photos deeper than 8 bits; None: as the file says.
        decode_seconds: time limit for one photo.
    """

    max_pixels: int = MAX_PIXELS
    white_level: float | None = None
    decode_seconds: float = DECODE_SECONDS


@dataclass(frozen=True)
class _Task:
    """One photo to decode, and the pictures to make of it.

    Attributes:
        path, content_hash, file: of the photo.
        pictures: window and file of each; None: the whole photo.
    """

    path: str
    content_hash: str
    file: str
    pictures: tuple[tuple[Window | None, str], ...]


def encode_pictures(
    photos: Sequence[ExportPhoto], folder: Path, rules: DecodeRules, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, Reason]:
    """Write the pictures of all photos not plain, or of which only a window is wanted.

    Args:
        photos: those of a data set; plain ones are passed over.
        folder: for the pictures, under their names.
        rules: for the decoder.
        stop: asked before each photo; once true, the work ends.

    Returns:
        Reason and detail by content hash of each photo impossible to decode, or changed meanwhile.

    Raises:
        OSError: the disk is full or can't be written.
        StoppedError: `stop()` was true.
    """
    tasks = _list_tasks(photos, folder)
    if not tasks:
        return {}
    load_decoders()  # once, before the processes are forked
    workers = [Worker(partial(_write_pictures, rules=rules)) for _ in range(min(available_cores(), len(tasks)))]
    idle: SimpleQueue[Worker[_Task, Reason | OSError | None]] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def run_in_idle_worker(task: _Task) -> Reason | None:
        if stop():
            raise StoppedError("stopped; nothing was exported")
        worker = idle.get()
        try:
            result = worker.run(task, seconds=rules.decode_seconds)
            if isinstance(result, OSError):
                raise result
            return result
        except WorkerDiedError as error:
            return "unreadable", f"the decoder crashed ({error})"
        except WorkerTimeoutError:
            return "unreadable", f"the decoder took longer than {rules.decode_seconds:g} s"
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(len(workers)) as threads:
        try:
            results = list(threads.map(run_in_idle_worker, tasks))
        finally:
            threads.shutdown(cancel_futures=True)
            for worker in workers:
                worker.stop()
    return {task.content_hash: result for task, result in zip(tasks, results, strict=True) if result}


def _list_tasks(photos: Sequence[ExportPhoto], folder: Path) -> list[_Task]:
    by_photo: dict[str, list[ExportPhoto]] = {}
    for photo in photos:
        if not photo.is_plain:
            by_photo.setdefault(photo.content_hash, []).append(photo)
    return [
        _Task(
            path=group[0].path,
            content_hash=group[0].content_hash,
            file=group[0].file,
            pictures=tuple((photo.window, str(folder / photo.name)) for photo in group),
        )
        for group in by_photo.values()
    ]


def _write_pictures(task: _Task, rules: DecodeRules) -> Reason | OSError | None:
    """Decode one photo and write its pictures. Runs in a worker.

    Returns:
        A reason to leave the photo out, or the error of a full disk.
    """
    Image.MAX_IMAGE_PIXELS = None  # `decode` has its own limit, with a reason
    ref = ImageRef(task.path, None, task.file, file_bytes=0, mtime_ns=0)
    try:
        with open(task.file, "rb") as stream:
            content = read_content(ref, stream)
            if content.hash != task.content_hash:
                return "changed", "during the export; run again"
            rgb = decode(content.file, max_pixels=rules.max_pixels, white_level=rules.white_level).rgb
            content.check_unchanged()
    except DecodeError as error:
        return "unreadable", str(error)
    except OSError as error:
        return ("gone" if isinstance(error, FileNotFoundError) else "unreadable"), error.strerror
    except MemoryError:
        return "unreadable", "not enough memory for it"
    pixels = _to_grey_if_grey(rgb)
    try:
        for window, file in task.pictures:
            Path(file).write_bytes(encode_png(_cut(pixels, window)))
    except OSError as error:
        return error
    return None


def _cut(pixels: Pixels, window: Window | None) -> Pixels:
    if window is None:
        return pixels
    x0, y0, x1, y1 = window
    return pixels[y0:y1, x0:x1]


def _to_grey_if_grey(rgb: Pixels) -> Pixels:
    """Return one channel, (h, w), of a picture without colours: a third of the file."""
    red, green, blue = (rgb[..., channel] for channel in range(3))
    return red if np.array_equal(red, green) and np.array_equal(red, blue) else rgb
