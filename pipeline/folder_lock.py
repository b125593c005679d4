"""One process at a time in a folder, also on disks without locks."""

import errno
import logging
from pathlib import Path
from typing import Self

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from pipeline.errors import FolderBusyError

log = logging.getLogger(__name__)

LOCK_NAME = ".lock"
_HOLDER_SUFFIX = ".holder"  # of the file that is the lock on disks without locks
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


class FolderLock:
    """The right to write in a folder.

    The system drops its lock with the process. On a disk without locks a file stands for it, with process and host of
    the holder: after a kill the next process on the same host takes it over, and on another host the error names the
    file to remove.
    """

    def __init__(self, folder: Path, *, busy: str, seconds: float = 0) -> None:
        """Remember the folder; nothing is touched before `acquire`.

        Args:
            folder: must exist by then.
            busy: text of the error while another process holds the folder.
            seconds: wait for it so long.
        """
        self._file = folder / LOCK_NAME
        self._busy = busy
        self._seconds = seconds
        self._held: BaseFileLock | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            FolderBusyError: another process holds it.
            OSError: the folder can't be written.
        """
        lock = FileLock(self._file, timeout=self._seconds, fallback_to_soft=False)
        try:
            lock.acquire()
            self._held = lock
        except Timeout:
            raise FolderBusyError(self._busy) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("%s: its disk has no locks (%s); a file keeps others out", self._file.parent, error.strerror)
            self._acquire_by_file()

    def release(self) -> None:
        """Give the folder free."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _acquire_by_file(self) -> None:
        file = Path(f"{self._file}{_HOLDER_SUFFIX}")
        was_there = file.exists()
        lock = SoftFileLock(file, timeout=self._seconds)
        try:
            try:
                lock.acquire()
            except Timeout:  # the first attempt may have removed the file of a dead process
                lock.acquire(timeout=0)
        except Timeout:
            raise FolderBusyError(f"{self._busy} ({_describe_holder(file)})") from None
        self._held = lock
        if was_there:
            log.warning("%s: took over the lock of a process that has ended", file.parent)


def _describe_holder(file: Path) -> str:
    """Return holder and remedy; the file holds a process id and a host, a line each."""
    try:
        process, host = file.read_text(encoding="utf-8", errors="replace").splitlines()[:2]
        holder = f"process {process} on {host.partition('?')[0]}"
    except (OSError, ValueError):
        holder = "a process without a name"
    return f"held by {holder}; if it no longer runs, remove {file}"
