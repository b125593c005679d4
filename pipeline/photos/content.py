"""The bytes of a file, to hash and to decode: small files are read into memory, large ones stay on the disk."""

import hashlib
import io
import os
from dataclasses import dataclass, replace
from typing import BinaryIO

from pipeline.errors import UnjudgedError
from pipeline.photos.discover import mtime_ns
from pipeline.records import ImageRef
from pipeline.storage.files import read_bytes
from pipeline.storage.location import is_url, parse_location

_MOST_BYTES_IN_MEMORY = 2**24
_CHANGED = "it changed while it was read; the next run takes it up again"


@dataclass(frozen=True)
class Content:
    """The bytes of one file.

    Attributes:
        ref: the file, with its size and mtime at the time of reading.
        hash: BLAKE2b-128 of the bytes, hex.
        file: the bytes, in memory or on the disk.
    """

    ref: ImageRef
    hash: str
    file: BinaryIO

    def check_unchanged(self) -> None:
        """Check a file on the disk after its last use.

        Raises:
            UnjudgedError: it changed after `read_content`.
        """
        if not isinstance(self.file, io.BytesIO):
            status = os.fstat(self.file.fileno())
            _check_same(self.ref, status, status.st_size)


def read_content(ref: ImageRef, stream: io.BufferedReader) -> Content:
    """Read and hash an opened file.

    Raises:
        UnjudgedError: it changed meanwhile.
        OSError: it can't be read.
    """
    before = os.fstat(stream.fileno())
    ref = replace(ref, file_bytes=before.st_size, mtime_ns=mtime_ns(before))
    if before.st_size <= _MOST_BYTES_IN_MEMORY:
        data = stream.read()
        _check_same(ref, os.fstat(stream.fileno()), len(data))
        return hold_content(ref, data)
    content_hash = hash_stream(stream)
    _check_same(ref, os.fstat(stream.fileno()), stream.tell())
    return Content(ref, content_hash, stream)


def fetch_object(ref: ImageRef) -> bytes:
    """Read an object in the version of its listing.

    Raises:
        UnjudgedError: it changed meanwhile, or the store refuses it.
        FileNotFoundError: it is gone.
        StoreError: the store doesn't answer.
    """
    from pipeline.storage.clients import ObjectChangedError, ObjectRefusedError

    try:
        return read_bytes(parse_location(ref.file), version=ref.version)
    except ObjectChangedError:
        raise UnjudgedError(_CHANGED) from None
    except ObjectRefusedError as error:
        raise UnjudgedError(f"can't be read: {error}") from None


def hold_content(ref: ImageRef, data: bytes) -> Content:
    """Return bytes in memory as the content of a file."""
    return Content(ref, hash_bytes(data), io.BytesIO(data))


def hash_bytes(data: bytes) -> str:
    """Compute the content hash of a file in memory."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def hash_stream(stream: io.BufferedReader) -> str:
    """Compute the content hash of an opened file, in pieces."""
    return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def hash_file(ref: ImageRef) -> str | None:
    """Compute the content hash of a file; None if it can't be read.

    Raises:
        StoreError: the store of an object doesn't answer.
    """
    try:
        if is_url(ref.file):
            return hash_bytes(fetch_object(ref))
        with open(ref.file, "rb") as stream:
            return hash_stream(stream)
    except (OSError, UnjudgedError):
        return None


def hash_unchanged(ref: ImageRef) -> str | None:
    """Compute the content hash of a file; None if it is no longer the file of the ref."""
    content_hash = hash_file(ref)
    try:
        status = os.stat(ref.file)
    except OSError:
        return None
    return content_hash if (status.st_size, mtime_ns(status)) == (ref.file_bytes, ref.mtime_ns) else None


def _check_same(ref: ImageRef, status: os.stat_result, bytes_read: int) -> None:
    if {status.st_size, bytes_read} != {ref.file_bytes} or mtime_ns(status) != ref.mtime_ns:
        raise UnjudgedError(_CHANGED)
