"""Where photos come from: a folder, a bucket, a list."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from pipeline.records import ImageRef


class Source(Protocol):
    """A place to find photos in, at any number of them: they come in chunks."""

    @property
    def name(self) -> str:
        """The place, for messages."""
        ...

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Reasons by folder, for folders impossible to list; complete after the last chunk."""
        ...

    @property
    def left_out(self) -> Mapping[str, int]:
        """Pictures and folders left out, counted by rule; complete after the last chunk."""
        ...

    def chunks(self) -> Iterator[list[ImageRef]]:
        """Yield all photos, some thousand at a time, most of them in the order of their paths."""
        ...

    def is_gone(self, paths: Sequence[str], raws: Sequence[bytes | None]) -> list[bool]:
        """Tell for each photo of the table whether it is gone; one out of reach, or merely left out, is not.

        Args:
            paths: as in the table.
            raws: the column path_bytes.
        """
        ...
