"""The windows of a large photo. Its pixels wait in a file without a name, and workers cut windows from it.

So memory holds a few windows, whatever the size of the photo, and a process killed at any moment leaves nothing behind.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

import numpy as np

from pipeline.errors import UnjudgedError
from pipeline.records import PixelBox, Pixels

WINDOWS_A_TASK = 8  # 1 MB of windows of 224 pixels, through a pipe


@dataclass(frozen=True)
class CutTask:
    """Some windows to cut.

    Attributes:
        unpacked: path of the file with the photo's pixels.
        size: width and height of the photo.
        boxes: the windows, (left, top, right, bottom).
    """

    unpacked: str
    size: tuple[int, int]
    boxes: tuple[PixelBox, ...]


class UnpackedPhoto:
    """A file for the pixels of a photo, in the folder for temporary files; see `pipeline.records.PixelFile`.

    Attributes:
        path: where any process of this machine opens it.
    """

    def __init__(self) -> None:
        """Open an empty file; where Linux allows it, without a name, so that a killed process leaves none behind."""
        self._file: IO[bytes] = TemporaryFile() if sys.platform == "linux" else NamedTemporaryFile()  # noqa: SIM115
        self.path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}" if sys.platform == "linux" else self._file.name

    def __del__(self) -> None:
        """Free the disk."""
        self._file.close()


def unpack_photo(rgb: Pixels, path: str) -> None:
    """Write the pixels of a photo, (h, w, 3), into a file.

    Raises:
        UnjudgedError: the disk is full.
    """
    try:
        with open(path, "wb") as file:
            rgb.tofile(file)
    except OSError as error:
        megabytes = rgb.nbytes / 1e6
        raise UnjudgedError(
            f"no room for its {megabytes:.0f} MB of pixels among temporary files ({error.strerror or error}); set "
            "TMPDIR to a folder on a larger disk"
        ) from error


def cut_windows(task: CutTask, prepare: Callable[[Pixels], Pixels]) -> list[Pixels]:
    """Cut windows from a photo in a file; `prepare` makes the model's input, (3, H, W), of each."""
    width, height = task.size
    photo = np.memmap(task.unpacked, np.uint8, "r", shape=(height, width, 3))
    return [prepare(np.array(photo[top:bottom, left:right])) for left, top, right, bottom in task.boxes]
