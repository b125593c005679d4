"""Files below a folder of this machine: each whole, and some of them only once."""

import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.atomic_files import atomic_write_path, cannot_write, flush_to_disk, new_temporary


class LocalStorage:
    """A folder on a disk, with the folder tmp/ for files being written."""

    def __init__(self, root: Path) -> None:
        """Remember the folder; nothing is touched."""
        self._root = root

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless its name is taken, and return whether it was written: a hard link refuses a taken name.

        Raises:
            StoreError: the disk is full, or the folder can't be written.
        """
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
        """Write a file, also over another one. Raises as `create`."""
        with atomic_write_path(self._root / name, self._root / "tmp") as temporary:
            temporary.write_bytes(content)

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; missing ones are fine."""
        for name in names:
            (self._root / name).unlink(missing_ok=True)

    def probe(self) -> None:
        """Return: the lock of the folder tells whether it can be written."""
