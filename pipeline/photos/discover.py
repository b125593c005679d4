"""A folder -> the image files in it, sorted by path."""

import logging
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from pipeline.photos.decode import extensions
from pipeline.photos.folder_walk import FolderWalk, escape
from pipeline.photos.left_out import extension_of, find_file_rule, log_left_out, sort_left_out
from pipeline.photos.selection import Selection
from pipeline.records import ImageRef

log = logging.getLogger(__name__)

_INT64 = 2**63 - 1
_CHUNK = 8192  # photos


@dataclass
class Discovery:
    """The outcome of a walk over the input folder.

    Attributes:
        refs: the image files, sorted by path.
        unreadable: reasons by folder, for folders impossible to list; their files are not in `refs`.
        left_out: pictures and folders left out, counted by rule; files of other kinds are not counted.
    """

    refs: list[ImageRef] = field(default_factory=list)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


class FolderSource:
    """The photos below a folder, by extension, case-blind. All commands find their photos here.

    Symlinks to files are followed. Symlinked folders are entered only with `follow_links`, after all real
    ones, and no folder is entered twice, so loops end.
    """

    def __init__(self, root: Path, selection: Selection | None = None, *, skip: Path | None = None) -> None:
        """Remember the settings.

        Args:
            root: the folder; it is walked whatever its own name.
            selection: the part of it to walk through.
            skip: a folder never to enter, not even through a link: the results, because overlays are photos too.
        """
        self._root, self._selection, self._skip = os.fspath(root), selection or Selection(), skip
        self._walk = FolderWalk(self._root, self._selection, skip)
        self._escaped: set[str] = set()

    @property
    def name(self) -> str:
        """The folder."""
        return self._root

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Reasons by folder, for folders impossible to list."""
        return self._walk.unreadable

    @property
    def left_out(self) -> Mapping[str, int]:
        """Pictures and folders left out, counted by rule; files of other kinds are not counted."""
        return sort_left_out(self._walk.left_out)

    def chunks(self) -> Iterator[list[ImageRef]]:
        """Yield all photos, some thousand at a time, sorted by path but for rare names: see `_make_unique`."""
        self._walk = FolderWalk(self._root, self._selection, self._skip)
        self._escaped = set()
        names = self._walk.list_photos()
        root = os.path.join(self._root, "")
        while chunk := [self._make_ref(root + name, name) for name in islice(names, _CHUNK)]:
            yield chunk

    def is_gone(self, paths: Sequence[str], raws: Sequence[bytes | None]) -> list[bool]:
        """Tell for each photo whether the system denies it: one out of reach tonight may be there tomorrow."""
        root = os.fsencode(self._root)
        names = zip(paths, raws, strict=True)
        return [is_file_gone(os.path.join(root, raw or os.fsencode(path))) for path, raw in names]

    def _make_ref(self, file: str, name: str) -> ImageRef:
        path, raw = name, None
        if not name.isascii() and (path := escape(name)) != name:
            path, raw = self._make_unique(path), os.fsencode(name)
        return refer_to_file(file, path, raw)

    def _make_unique(self, path: str) -> str:
        """Escape a name once more if the escaped name is another file's real name, until it is unique."""
        while path in self._escaped or os.path.lexists(os.path.join(self._root, path)):
            path = path.replace("\\", "\\\\")
        self._escaped.add(path)
        return path


def discover(root: Path, selection: Selection | None = None, *, skip: Path | None = None) -> Discovery:
    """Find every image file below a folder, and log a line about all that was left out; see `FolderSource`."""
    discovery = walk_photos(root, selection or Selection(), skip=skip)
    log_left_out(discovery.left_out)
    return discovery


def walk_photos(root: Path, selection: Selection, *, skip: Path | None = None) -> Discovery:
    """Find every image file below a folder, see `FolderSource`; all at once, so not for whole archives."""
    source = FolderSource(root, selection, skip=skip)
    refs = sorted(chain.from_iterable(source.chunks()), key=lambda ref: ref.path)
    return Discovery(refs, source.unreadable, source.left_out)


def is_photo_name(name: str) -> bool:
    """Tell whether a file counts as a photo by its name."""
    return extension_of(name) in extensions() and find_file_rule(name) is None


def mtime_ns(status: os.stat_result) -> int:
    """Return a file's modification time within 64 bits of ns; file systems allow years beyond."""
    time: int = status.st_mtime_ns
    return time if -_INT64 <= time <= _INT64 else max(-_INT64, min(_INT64, time))


def refer_to_file(file: str, path: str, raw: bytes | None) -> ImageRef:
    """Return the reference to a file, with a problem if it can't be a photo.

    Args:
        file: its name for the operating system.
        path, raw: its path and path_bytes in the table.
    """
    try:
        status = os.stat(file)
    except OSError as error:
        return ImageRef(path, raw, file, 0, 0, f"can't be opened: {error.strerror}")
    problem = None if stat.S_ISREG(status.st_mode) else "not a regular file"
    return ImageRef(path, raw, file, status.st_size, mtime_ns(status), problem)


def is_file_gone(file: bytes) -> bool:
    """Tell whether the system denies a file; one out of reach tonight may be there tomorrow."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        log.warning("%s: %s; its row stays", os.fsdecode(file), error.strerror)
    return False
