"""Writing decisions: one file for each sitting, one writer a file, on the disk before they are acknowledged.

One writer a file needs no lock between writers, on any file system. The writer locks its own file all the same, to
keep `compact` from folding a session in use.
"""

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Self

from pipeline.atomic_files import cannot_write, flush_to_disk
from pipeline.reviews.files import REVIEWS, new_session_name
from pipeline.reviews.record import ReviewRecord


class ReviewSession:
    """Appends records to a new file. Safe for use by several threads.

    Attributes:
        name: of the session, for the field `session` of its records.
        file: the file of its records.
    """

    def __init__(self, out: Path, who: str, known_ids: Iterable[str] = ()) -> None:
        """Create the file.

        Args:
            out: the results folder.
            who: the person.
            known_ids: ids of earlier records; a record with one of them is not written again.

        Raises:
            StoreError: the folder can't be written.
        """
        self._known_ids = set(known_ids)
        self._lock = Lock()
        self._size = 0  # bytes of whole records
        folder = out / REVIEWS
        try:
            folder.mkdir(exist_ok=True)
            self.file, self._descriptor = _create_session_file(folder, who)
            flush_to_disk(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self.name = self.file.stem

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, record: ReviewRecord) -> bool:
        """Write a record and flush it to the disk; return False for a record already there, sent once more.

        Raises:
            StoreError: the disk is full or can't be written; the file is as before.
        """
        line = record.to_line()
        with self._lock:
            if record.id in self._known_ids:
                return False
            try:
                self._drop_half_line()
                _write_all(self._descriptor, line)
                flush_to_disk(self.file)
            except OSError as error:
                with suppress(OSError):  # on a broken disk the next record tries again
                    self._drop_half_line()
                raise cannot_write(self.file, error) from error
            self._size += len(line)
            self._known_ids.add(record.id)
            return True

    def close(self) -> None:
        """Close the file; remove it if it is empty."""
        if self._size == 0:
            self.file.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _drop_half_line(self) -> None:
        """Cut off the rest of a failed write, or the next record would stand on the same line."""
        if os.fstat(self._descriptor).st_size != self._size:
            os.ftruncate(self._descriptor, self._size)


def lock_session(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open session's file for this process; return False if another one holds it, or the disk has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _create_session_file(folder: Path, who: str) -> tuple[Path, int]:
    """Create and lock a file; return it and its descriptor."""
    while True:
        file = folder / f"{new_session_name(who)}.jsonl"
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        lock_session(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:
            return file, descriptor
        os.close(descriptor)  # folded, and so removed, before it was locked


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
