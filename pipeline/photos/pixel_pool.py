"""Places for the model's input in memory shared with the workers, so that no pixel passes through a pipe."""

import ctypes
import mmap
import sys
import weakref
from typing import Any, Self

import numpy as np

from pipeline.records import Pixels

_MOST_PLACES, _MOST_BYTES = 4096, 2**30  # of memory that is taken at its first use


class PixelPool:
    """Places of equal size. One is taken before a photo is decoded and free again once nobody holds its pixels.

    The memory has no name, so the size of /dev/shm is no limit. Without fork() it can't be shared: there are no places,
    and pixels travel as they are.
    """

    def __init__(self, places: int, shape: tuple[int, int, int]) -> None:
        """Reserve the memory; a place costs nothing before its first use.

        Args:
            places: their number.
            shape: of the pixels in each.
        """
        self._shape, self._bytes = shape, int(np.prod(shape))
        try:
            self._memory = mmap.mmap(-1, max(1, places * self._bytes)) if sys.platform == "linux" else None
        except OSError:  # a limit on memory that is only reserved; pixels travel as they are
            self._memory = None
        self._free = list(range(places) if self._memory is not None else ())  # the last one used comes next

    @classmethod
    def for_input(cls, size: tuple[int, int]) -> Self:
        """Return a pool for the model's input of this height and width, with more places than any run needs."""
        height, width = size
        return cls(min(_MOST_PLACES, _MOST_BYTES // (3 * height * width)), (3, height, width))

    def take(self) -> int | None:
        """Take a free place; None if there is none."""
        try:
            return self._free.pop()
        except IndexError:
            return None

    def give_back(self, place: int) -> None:
        """Free a place that holds no pixels."""
        self._free.append(place)

    def write(self, place: int, pixels: Pixels) -> bool:
        """Put pixels into a place, in a worker; False if they have another shape."""
        if pixels.shape != self._shape or self._memory is None:
            return False
        start = place * self._bytes
        np.frombuffer(self._memory, np.uint8, self._bytes, start).reshape(self._shape)[:] = pixels
        return True

    def read(self, place: int) -> Pixels:
        """Return the pixels in a place, without a copy. The place is free once they are garbage."""
        assert self._memory is not None
        memory: Any = (ctypes.c_uint8 * self._bytes).from_buffer(self._memory, place * self._bytes)
        weakref.finalize(memory, self._free.append, place).atexit = False
        pixels: Pixels = np.frombuffer(memory, np.uint8).reshape(self._shape)
        return pixels
