"""Reading files and listing folders, wherever they lie."""

from dataclasses import dataclass
from typing import Any

from pipeline.storage.location import Location


@dataclass(frozen=True)
class Entry:
    """One file of a folder: name, bytes, time of its last change in ns since 1970 UTC, version in a store."""

    name: str
    size: int
    mtime_ns: int
    version: str | None = None


def list_files(folder: Location) -> list[Entry]:
    """List the files directly in a folder, sorted by name; none without the folder."""
    if not folder.is_dir():
        return []
    files = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    return [Entry(name, status.st_size, status.st_mtime_ns) for name, status in files]


def read_bytes(file: Location) -> bytes:
    """Read a whole file."""
    return file.read_bytes()


def open_parquet(file: Location) -> Any:
    """Return what pyarrow opens as a Parquet file."""
    return file
