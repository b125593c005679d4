"""A finished folder takes its name in one step, with the old one beneath it or gone, never half of each."""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.atomic_files import flush_to_disk
from pipeline.errors import StoreError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def folder_in_the_making(final: Path) -> Iterator[Path]:
    """Yield a new folder beside `final`, to be given its name by `put_in_place`; what is left of it is removed.

    Folders left behind by a kill are removed too; the lock on a folder tells whether its process still lives.

    Raises:
        StoreError: the folder around them can't be written.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        for leftover in final.parent.glob(f".{final.name}.export-*"):
            _remove_if_dead(leftover)
        making = final.parent / f".{final.name}.export-{uuid.uuid4().hex[:8]}"
        making.mkdir()
        descriptor = os.open(making, os.O_RDONLY)
    except OSError as error:
        raise StoreError(
            f"can't write {final.parent}: {error.strerror}; check its permissions, then run again"
        ) from None
    try:
        with suppress(OSError):  # a disk without locks keeps what a kill leaves
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield making
    finally:
        os.close(descriptor)
        shutil.rmtree(making, ignore_errors=True)


def put_in_place(made: Path, final: Path) -> None:
    """Give a finished folder its name, instead of an existing one, which is removed.

    Raises:
        OSError: the disk can't be written.
    """
    sync_disk(made)
    if not final.exists():
        os.rename(made, final)
    elif _exchange(made, final):
        shutil.rmtree(made)  # the old one
    else:  # a disk unable to exchange two folders: for a moment neither has the name
        old = made.with_name(f"{made.name}-old")
        os.rename(final, old)
        os.rename(made, final)
        shutil.rmtree(old)
    flush_to_disk(final.parent)


def sync_disk(folder: Path) -> None:
    """Write everything waiting for the disk of a folder; thousands of files one by one would take minutes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:
            os.sync()
        elif syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step; return False where the system can't."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    names = (os.fsencode(first), os.fsencode(second))
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(second))


def _remove_if_dead(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # another export is at work
    finally:
        os.close(descriptor)
    shutil.rmtree(folder, ignore_errors=True)
