"""The memory that a process has freed, kept for its next photo or its next layer."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)


def keep_freed_memory(most: int = 2**30) -> None:
    """Make this process keep what it frees.

    Otherwise glibc returns the buffers of each photo or layer to the kernel and faults them back in, zeroed, for the
    next one.

    Args:
        most: bytes at the end of the heap that may lie free; pieces of more than 32 MiB never stay.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_TRIM_THRESHOLD, most)
            mallopt(_MMAP_THRESHOLD, 2**25)  # the largest allowed value
