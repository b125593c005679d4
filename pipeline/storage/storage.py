"""Writing to a results folder: each file whole, and some of them only once."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pipeline.storage.local import LocalStorage
from pipeline.storage.location import Location


class Storage(Protocol):
    """A place for files with relative names. Faults are raised as `StoreError`."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless its name is taken; return whether it was written."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file, also over another one."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; missing ones are fine."""

    def probe(self) -> None:
        """Raise ConfigError unless the place can be written and `create` refuses taken names."""


def check_reachable(place: Location) -> None:
    """Check that the place of an input or of results can be listed; folders of this machine are checked elsewhere.

    Raises:
        ConfigError: the bucket isn't there, or access is denied, or its host doesn't answer.
    """
    if not isinstance(place, Path):
        from pipeline.storage.clients import at_start
        from pipeline.storage.object_store import find_first

        with at_start():
            find_first(place)


def open_storage(out: Location) -> Storage:
    """Return the storage of a results folder; nothing is touched, and no request made."""
    if isinstance(out, Path):
        return LocalStorage(out)
    from pipeline.storage.object_store import ObjectStorage

    return ObjectStorage(out)
