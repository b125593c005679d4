"""Writing to a results folder: each file whole, and some of them only once."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pipeline.atomic_files import atomic_write_path, cannot_write, flush_to_disk, new_temporary
from pipeline.storage.location import Location


class Storage(Protocol):
    """A place for files with relative names."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless its name is taken; return whether it was written."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file, also in place of another one."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; missing ones are fine."""


class LocalStorage:
    """A folder on a disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless its name is taken: a hard link refuses a name in use."""
        final, temporary = self._root / name, new_temporary(self._root / "tmp")
        try:
            try:
                temporary.write_bytes(content)
                flush_to_disk(temporary)
                os.link(temporary, final)
                flush_to_disk(final.parent)
            finally:
                temporary.unlink(missing_ok=True)
        except FileExistsError:
            return False
        except OSError as error:
            raise cannot_write(final, error) from error
        return True

    def put(self, name: str, content: bytes) -> None:
        """Write a file, also in place of another one."""
        with atomic_write_path(self._root / name, self._root / "tmp") as temporary:
            temporary.write_bytes(content)

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; missing ones are fine."""
        for name in names:
            (self._root / name).unlink(missing_ok=True)


def open_storage(out: Location) -> Storage:
    """Return the storage of a results folder."""
    return LocalStorage(out)
