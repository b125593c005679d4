"""Reading files and listing folders, wherever they lie."""

import os
from pathlib import Path
from typing import Any

from pipeline.storage.entry import Entry
from pipeline.storage.location import Location


def list_files(folder: Location) -> list[Entry]:
    """List the files directly in a folder, sorted by name; none without the folder.

    Raises:
        StoreError: the store refuses it, or doesn't answer.
    """
    if not isinstance(folder, Path):
        from pipeline.storage.object_store import list_objects

        return list_objects(folder)
    if not folder.is_dir():
        return []
    entries = (file_status(file) for file in sorted(folder.iterdir()))
    return [entry for entry in entries if entry is not None]


def list_names(folder: Location) -> list[str]:
    """List the names of the files directly in a folder, sorted; none without the folder. Raises as `list_files`."""
    if not isinstance(folder, Path):
        return [entry.name for entry in list_files(folder)]
    try:
        with os.scandir(folder) as found:  # tells most files from folders without a stat of each
            return sorted(entry.name for entry in found if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_bytes(file: Location, *, version: str | None = None) -> bytes:
    """Read a whole file.

    Args:
        file: its place.
        version: of an object: only this one will do.

    Raises:
        FileNotFoundError: there is no such file.
        ObjectChangedError: the object has another version.
        StoreError: the store refuses it, or doesn't answer.
    """
    if isinstance(file, Path):
        return file.read_bytes()
    from pipeline.storage.object_store import read_object

    return read_object(file, version)


def open_parquet(file: Location) -> Any:
    """Return what pyarrow opens as a Parquet file: a path, or an object to seek in. Raises as `read_bytes`."""
    if isinstance(file, Path):
        return file
    from pipeline.storage.object_store import ObjectReader

    return ObjectReader(file)


def exists(place: Location) -> bool:
    """Tell whether there is a file or a folder, or any object below a prefix. Raises as `file_status`."""
    if isinstance(place, Path):
        return place.exists()
    from pipeline.storage.object_store import find_first

    return file_status(place) is not None or find_first(place) is not None


def file_status(file: Location) -> Entry | None:
    """Return a file's entry; None if there is no such file.

    Raises:
        StoreError: the store refuses it, or doesn't answer.
    """
    if isinstance(file, Path):
        try:
            status = file.stat()
        except FileNotFoundError:
            return None
        return Entry(file.name, status.st_size, status.st_mtime_ns) if file.is_file() else None
    from pipeline.storage.object_store import find_object

    return find_object(file)
