"""Files under their final name are complete: written elsewhere first, then renamed."""

import errno
import logging
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}")
_REMEDIES = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room in its quota",
    errno.EROFS: "make its file system writable",
    errno.EACCES: "give this user write access",
    errno.EXDEV: "keep the whole results folder on one file system",  # tmp/ is a mount of its own
}


# Answers of file systems without fsync, for files or for folders; EIO or ENOSPC are failures.
_CANT_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY)
_disks_without_flush: set[int] = set()  # the device number of each, warned of by this process


def new_temporary(tmp: Path) -> Path:
    """Return a path for a new file in a folder of temporary files."""
    return tmp / uuid.uuid4().hex


@contextmanager
def atomic_write_path(final: Path, tmp: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path; rename it to `final` after the block, or remove it after an exception.

    Args:
        final: name of the finished file. Its folder must exist.
        tmp: a folder on the same file system.
        durable: flush the file before the rename and the folder after it, to survive a power cut.

    Raises:
        StoreError: the disk is full, or one of the folders can't be written.
    """
    temporary = new_temporary(tmp)
    try:
        try:
            yield temporary
            if durable:
                flush_to_disk(temporary)
            os.replace(temporary, final)
            if durable:
                flush_to_disk(final.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(final, error) from error


@contextmanager
def temporary_folder(tmp: Path | None) -> Iterator[Path]:
    """Yield a new folder in `tmp`, or in the system's place for such; remove it after the block with all in it."""
    folder = new_temporary(Path(tempfile.gettempdir()) if tmp is None else tmp)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(out: Path) -> None:
    """Create an output folder. Called before long work, so no result is lost for lack of a folder.

    Raises:
        ConfigError: it can't be created.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out = {out}: can't be written ({error.strerror}); name another folder") from None


def cannot_write(path: Path, error: OSError) -> StoreError:
    """Return the error of a failed write, with its remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "check its permissions")
    return StoreError(
        f"can't write {path}: {error.strerror or error}; everything committed stays: {remedy}, then run again to go on"
    )


def flush_to_disk(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut, on disks able to promise that.

    Network disks and FUSE drivers often refuse it, above all for folders. That is no failure to write: the files are
    there, and the log warns once for each disk.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        if not path.is_dir() or error.errno not in (*_CANT_FLUSH, errno.EACCES, errno.EISDIR):
            raise
        _warn_of_power_cuts(path, error.strerror)
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANT_FLUSH:
            raise
        _warn_of_power_cuts(path if path.is_dir() else path.parent, error.strerror)
    finally:
        os.close(descriptor)


def _warn_of_power_cuts(folder: Path, reason: str | None) -> None:
    """Warn once for each disk."""
    disk = folder.stat().st_dev
    if disk in _disks_without_flush:
        return
    _disks_without_flush.add(disk)
    log.warning(
        "%s: its disk can't flush files (%s): going on, but a power cut may cost the newest ones", folder, reason
    )
