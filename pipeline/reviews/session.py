"""Writing decisions: one file for each sitting, one writer a file, on the disk before they are acknowledged.

One writer a file needs no lock between writers, on any file system. The writer locks its own file all the same, to
keep `compact` from folding a session in use.
"""

import fcntl
import os
from collections.abc import Iterable
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
        self.name = new_session_name(who)
        self.file = out / REVIEWS / f"{self.name}.jsonl"
        self._known_ids = set(known_ids)
        self._lock = Lock()
        try:
            self.file.parent.mkdir(exist_ok=True)
            self._descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
            flush_to_disk(self.file.parent)
        except OSError as error:
            raise cannot_write(self.file, error) from error
        lock_session(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, record: ReviewRecord) -> bool:
        """Write a record and flush it to the disk; return False for a record already there, sent once more.

        Raises:
            StoreError: the disk is full or can't be written; the file is as before.
        """
        with self._lock:
            if record.id in self._known_ids:
                return False
            size = os.fstat(self._descriptor).st_size
            try:
                _write_all(self._descriptor, record.to_line())
                flush_to_disk(self.file)
            except OSError as error:
                os.ftruncate(self._descriptor, size)  # no half line may stand before the next record
                raise cannot_write(self.file, error) from error
            self._known_ids.add(record.id)
            return True

    def close(self) -> None:
        """Close the file; remove it if it is empty."""
        is_empty = os.fstat(self._descriptor).st_size == 0
        os.close(self._descriptor)
        if is_empty:
            self.file.unlink(missing_ok=True)


def lock_session(descriptor: int) -> bool:
    """Lock an open session's file for this process; return False if another one holds it, or the disk has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
