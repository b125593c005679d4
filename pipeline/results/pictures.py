"""Pictures put in place in a results folder on a disk, by any process."""

import errno
from pathlib import Path

from pipeline.atomic_files import atomic_write_path, cannot_write
from pipeline.errors import StoreError
from pipeline.results.names import TMP, safe_overlay_name

# Answers of disks with other rules for names: exFAT, SMB, encrypted folders; EPERM and ENOENT of some FUSE drivers.
_NAME_REFUSED = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.ENOENT, errno.EPERM)


def place_picture(out: Path, name: str, content: bytes) -> str:
    """Put a picture in place. Pictures are not flushed one by one: they can be drawn again.

    Returns:
        Its name: another one than requested if the disk refuses that.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    try:
        _place(out, name, content)
    except StoreError as error:
        if getattr(error.__cause__, "errno", None) not in _NAME_REFUSED:
            raise
        name = safe_overlay_name(name)
        _place(out, name, content)
    return name


def _place(out: Path, name: str, content: bytes) -> None:
    final = out / name
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(final.parent, error) from error
    with atomic_write_path(final, out / TMP, durable=False) as temporary:
        temporary.write_bytes(content)
