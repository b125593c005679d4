"""Files that appear under their final name complete or not at all."""

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError, StoreError

TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}")
_REMEDIES = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room in its quota",
    errno.EROFS: "make its file system writable",
    errno.EACCES: "give this user write access",
    errno.EXDEV: "keep the whole results folder on one file system",  # tmp/ is a mount of its own
}


@contextmanager
def atomic_write_path(final: Path, tmp: Path, *, durable: bool = True) -> Iterator[Path]:
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
                flush(temporary)
            os.replace(temporary, final)
            if durable:
                flush(final.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(final, error) from error


def make_folder(out: Path) -> None:
    """Make an output folder, before anything is computed that could not be written then.

    Raises:
        ConfigError: it can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out = {out}: can't be written ({error.strerror}); name another folder") from None


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The error of a write that failed, with what to do about it."""
    remedy = _REMEDIES.get(error.errno or 0, "mend the folder")
    return StoreError(
        f"can't write {path}: {error.strerror or error}; what was committed stays: {remedy}, then run again to go on"
    )


def flush(path: Path) -> None:
    """Make what was written to a file, or the names in a folder, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
