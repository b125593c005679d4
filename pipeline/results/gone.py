"""Photos deleted from the input since their row was written."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.photos.discover import FolderSource
from pipeline.photos.source import Source
from pipeline.results.done_index import DoneIndex, Ints


def count_gone(source: Source, index: DoneIndex, missing: Ints) -> int:
    """Count the rows without a photo; files out of reach, or merely left out of this run, are not gone.

    Args:
        source: the photos.
        index: of the table.
        missing: numbers of the current rows without a photo in this run, ascending.
    """
    gone = 0
    for _, names in index.read_rows(missing, ["path", "path_bytes"]):
        gone += sum(source.is_gone(names["path"].to_pylist(), names["path_bytes"].to_pylist()))
    return gone


def find_gone(source: Path, names: Iterable[tuple[str, bytes | None]]) -> list[bool]:
    """Tell for each photo whether it is gone.

    Args:
        source: the input folder.
        names: path and path_bytes of each photo, as in the table.
    """
    listed = list(names)
    return FolderSource(source).is_gone([path for path, _ in listed], [raw for _, raw in listed])
