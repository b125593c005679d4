"""Photos deleted from the input folder since their row was written."""

import logging
import os
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from pipeline.results.read import DoneFile

log = logging.getLogger(__name__)


def count_gone(source: Path, done: Mapping[str, DoneFile], found: Set[str]) -> int:
    """Count the rows without a photo; files out of reach, or merely left out of this run, are not gone.

    Args:
        source: the input folder.
        done: current rows by path.
        found: paths of this run's photos.
    """
    missing = ((path, row.path_bytes) for path, row in done.items() if path not in found)
    return sum(find_gone(source, missing))


def find_gone(source: Path, names: Iterable[tuple[str, bytes | None]]) -> list[bool]:
    """Tell for each photo whether it is gone.

    Args:
        source: the input folder.
        names: path and path_bytes of each photo, as in the table.
    """
    root = os.fsencode(source)
    return [_is_gone(os.path.join(root, raw or os.fsencode(path))) for path, raw in names]


def _is_gone(file: bytes) -> bool:
    """Tell whether the system denies the file: a photo out of reach tonight may be there tomorrow."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        log.warning("%s: %s; its row stays", os.fsdecode(file), error.strerror)
    return False
