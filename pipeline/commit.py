"""Files that appear under their final name complete or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import StoreError


@contextmanager
def renamed_into_place(final: Path, tmp: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path to write; renamed to `final` when the block ends well, removed when it doesn't.

    Args:
        final: where the file shall be. Its folder must exist.
        tmp: a folder on the same file system.
        durable: flush the file before the rename and the folder after it, so that it outlives a power cut.

    Raises:
        StoreError: the disk is full, or one of the folders can't be written.
    """
    temporary = tmp / uuid.uuid4().hex
    try:
        try:
            yield temporary
            if durable:
                _flush(temporary)
            os.replace(temporary, final)
            if durable:
                _flush(final.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(final, error) from error


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The error of a write that failed, with what to do about it."""
    return StoreError(
        f"can't write {path}: {error.strerror or error}; what was committed stays: "
        "make room or mend the folder, then run again to go on"
    )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
