"""How the C library hands out memory."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """Have this process keep what it frees.

    Else glibc gives what one layer of a model frees back to the system, to get it again, zeroed, for the next one.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_TRIM_THRESHOLD, 2**30)
            mallopt(_MMAP_THRESHOLD, 2**25)  # the most that it takes
