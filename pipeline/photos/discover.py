"""A folder -> the image files in it, sorted by path."""

import fnmatch
import logging
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.photos.decode import extensions
from pipeline.records import ImageRef

log = logging.getLogger(__name__)

_INT64 = 2**63 - 1


@dataclass
class Discovery:
    """The outcome of a walk over the input folder.

    Attributes:
        refs: the image files, sorted by path.
        unreadable: reasons by folder, for folders impossible to list; their files are not in `refs`.
    """

    refs: list[ImageRef] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def discover(
    root: Path, *, pattern: str | None = None, follow_links: bool = False, skip: Path | None = None
) -> Discovery:
    """Find every image file below a folder, by extension, case-blind.

    Symlinks to files are followed. Symlinked folders are entered only with `follow_links`, after all real
    ones, and no folder is entered twice, so loops end.

    Args:
        root: the folder.
        pattern: a glob for the file name, or with a `/` in it for the relative path.
        follow_links: enter symlinked folders.
        skip: a folder never to enter, not even through a link: the results, because overlays are photos too.
    """
    discovery = Discovery()
    photo_extensions = extensions()
    for entry in _walk_files(os.fspath(root), follow_links, skip, discovery.unreadable):
        stem, _, extension = entry.name.rpartition(".")
        relative = os.path.relpath(entry.path, root)
        if not stem or extension.lower() not in photo_extensions:
            continue
        if pattern is None or fnmatch.fnmatchcase(relative if "/" in pattern else entry.name, pattern):
            discovery.refs.append(_make_ref(entry, relative))
    _make_paths_unique(discovery.refs)
    discovery.refs.sort(key=lambda ref: ref.path)
    return discovery


def escape(name: str) -> str:
    r"""Convert a file name to text: bytes outside UTF-8 become `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def mtime_ns(status: os.stat_result) -> int:
    """Return a file's modification time within 64 bits of ns; file systems allow years beyond."""
    return max(-_INT64, min(_INT64, status.st_mtime_ns))


def _walk_files(
    root: str, follow_links: bool, skip: Path | None, unreadable: dict[str, str]
) -> Iterator[os.DirEntry[str]]:
    """Yield every entry below a folder except folders; real folders come before linked ones."""
    entered: set[tuple[int, int]] = set()
    if skip is not None and skip.exists():
        entered.add((skip.stat().st_dev, skip.stat().st_ino))
    folders, linked = [root], deque[str]()
    while folders or linked:
        folder = folders.pop() if folders else linked.popleft()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            name = escape(os.path.relpath(folder, root))
            unreadable[name] = error.strerror or str(error)
            log.warning("can't read folder %s: %s; photos in it are not processed", name, unreadable[name])
            continue
        while entries:
            entry = entries.pop()  # an entry holds its status, several times the size of the ref
            if not _is_folder(entry):
                yield entry
            elif not entry.is_symlink():
                folders.append(entry.path)
            elif follow_links:
                linked.append(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _make_ref(entry: os.DirEntry[str], relative: str) -> ImageRef:
    path = escape(relative)
    raw = os.fsencode(relative) if path != relative else None
    try:
        status = entry.stat()
    except OSError as error:
        return ImageRef(path, raw, entry.path, 0, 0, f"can't be opened: {error.strerror}")
    problem = None if stat.S_ISREG(status.st_mode) else "not a regular file"
    return ImageRef(path, raw, entry.path, status.st_size, mtime_ns(status), problem)


def _make_paths_unique(refs: list[ImageRef]) -> None:
    """Escape a name once more if the escaped name is another file's real name, until it is unique."""
    escaped = [index for index, ref in enumerate(refs) if ref.path_bytes is not None]
    if not escaped:
        return
    taken = {ref.path for ref in refs if ref.path_bytes is None}
    for index in escaped:
        path = refs[index].path
        while path in taken:
            path = path.replace("\\", "\\\\")
        taken.add(path)
        refs[index] = replace(refs[index], path=path)
