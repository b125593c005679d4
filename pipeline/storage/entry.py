"""One file of a folder, or one object below a prefix."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as listed.

    Attributes:
        name: of the file, or of the object below the listed prefix.
        size: in bytes.
        mtime_ns: time of its last change, nanoseconds since 1970 UTC.
        version: of an object (its ETag); None for a file.
    """

    name: str
    size: int
    mtime_ns: int
    version: str | None = None
