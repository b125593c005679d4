"""A folder -> the image files in it, sorted by path."""

import logging
import os
import stat
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.photos.decode import extensions
from pipeline.photos.left_out import (
    extension_of,
    find_file_rule,
    find_folder_rule,
    find_format_problem,
    is_apple_double,
    is_unfinished,
    log_left_out,
    sort_left_out,
)
from pipeline.records import ImageRef

log = logging.getLogger(__name__)

_INT64 = 2**63 - 1
_EXCLUDED, _EXCLUDED_FOLDER = "excluded (--exclude)", "excluded folder (--exclude)"
_LINKED_FOLDER = "symlinked folder (not followed)"


@dataclass(frozen=True)
class Selection:
    """The part of a folder to walk through. Globs are for names, or with a `/` in them for relative paths.

    Globs are blind to case and to Unicode forms.

    Attributes:
        pattern: only files like this; None: all.
        exclude: neither files nor folders like these.
        hidden: take hidden files and folders too, and those made by systems (thumbnails, waste baskets).
        follow_links: enter symlinked folders.
    """

    pattern: str | None = None
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow_links: bool = False

    def wants_file(self, name: str, relative: str) -> bool:
        """Tell whether a file matches the pattern."""
        return self.pattern is None or _matches_glob(self.pattern, name, relative)

    def find_folder_rule(self, name: str, relative: str) -> str | None:
        """Return the rule against a folder, None for a folder to enter."""
        if self._is_excluded(name, relative):
            return _EXCLUDED_FOLDER
        return None if self.hidden else find_folder_rule(name)

    def find_file_rule(self, entry: os.DirEntry[str], relative: str) -> str | None:
        """Return the rule against a picture, None for a photo to take."""
        if self._is_excluded(entry.name, relative):
            return _EXCLUDED
        by_name = not self.hidden or is_apple_double(entry.name, entry.path)
        rule = find_file_rule(entry.name) if by_name and not is_unfinished(entry.name) else None
        return rule or find_format_problem(entry.name)

    def _is_excluded(self, name: str, relative: str) -> bool:
        return any(_matches_glob(glob, name, relative) for glob in self.exclude)


@dataclass
class Discovery:
    """The outcome of a walk over the input folder.

    Attributes:
        refs: the image files, sorted by path.
        unreadable: reasons by folder, for folders impossible to list; their files are not in `refs`.
        left_out: pictures and folders left out, counted by rule; files of other kinds are not counted.
    """

    refs: list[ImageRef] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def discover(root: Path, selection: Selection | None = None, *, skip: Path | None = None) -> Discovery:
    """Find every image file below a folder, and log a line about all that was left out; see `walk_photos`."""
    discovery = walk_photos(root, selection or Selection(), skip=skip)
    log_left_out(discovery.left_out)
    return discovery


def walk_photos(root: Path, selection: Selection, *, skip: Path | None = None) -> Discovery:
    """Find every image file below a folder, by extension, case-blind. All commands find their photos here.

    Symlinks to files are followed. Symlinked folders are entered only with `follow_links`, after all real
    ones, and no folder is entered twice, so loops end.

    Args:
        root: the folder; it is walked whatever its own name.
        selection: the part of it to walk through.
        skip: a folder never to enter, not even through a link: the results, because overlays are photos too.
    """
    walk = _FolderWalk(os.fspath(root), selection)
    refs = []
    photo_extensions = extensions()
    for entry in walk.list_files(skip):
        if extension_of(entry.name) not in photo_extensions and find_format_problem(entry.name) is None:
            continue
        relative = walk.relative_path(entry)
        if not selection.wants_file(entry.name, relative):
            continue
        if rule := selection.find_file_rule(entry, relative):
            walk.left_out[rule] += 1
        else:
            refs.append(_make_ref(entry, relative))
    _make_paths_unique(refs)
    refs.sort(key=lambda ref: ref.path)
    return Discovery(refs, walk.unreadable, sort_left_out(walk.left_out))


def is_photo_name(name: str) -> bool:
    """Tell whether a file counts as a photo by its name."""
    return extension_of(name) in extensions() and find_file_rule(name) is None


def escape(name: str) -> str:
    r"""Convert a file name to text: bytes outside UTF-8 become `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def mtime_ns(status: os.stat_result) -> int:
    """Return a file's modification time within 64 bits of ns; file systems allow years beyond."""
    return max(-_INT64, min(_INT64, status.st_mtime_ns))


class _FolderWalk:
    """A walk through the folders below a root, with its account of those not entered."""

    def __init__(self, root: str, selection: Selection) -> None:
        self.unreadable: dict[str, str] = {}
        self.left_out: Counter[str] = Counter()
        self._root, self._selection = root, selection
        self._root_length = len(os.path.join(root, ""))

    def relative_path(self, entry: os.DirEntry[str]) -> str:
        """Return an entry's path from the root."""
        return entry.path[self._root_length :]

    def list_files(self, skip: Path | None) -> Iterator[os.DirEntry[str]]:
        """Yield every entry below the root except folders; real folders come before linked ones."""
        entered: set[tuple[int, int]] = set()
        if skip is not None and skip.exists():
            entered.add((skip.stat().st_dev, skip.stat().st_ino))
        folders, linked = [self._root], deque[str]()
        while folders or linked:
            folder = folders.pop() if folders else linked.popleft()
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
            except OSError as error:
                self._note_unreadable(folder, error)
                continue
            while entries:
                entry = entries.pop()  # an entry holds its status, several times the size of the ref
                if not _is_folder(entry):
                    yield entry
                elif rule := self._selection.find_folder_rule(entry.name, self.relative_path(entry)):
                    self.left_out[rule] += 1
                elif not entry.is_symlink():
                    folders.append(entry.path)
                elif self._selection.follow_links:
                    linked.append(entry.path)
                else:
                    self.left_out[_LINKED_FOLDER] += 1

    def _note_unreadable(self, folder: str, error: OSError) -> None:
        name = escape(os.path.relpath(folder, self._root))
        self.unreadable[name] = error.strerror or str(error)
        log.warning("can't read folder %s: %s; photos in it are not processed", name, self.unreadable[name])


def _matches_glob(glob: str, name: str, relative: str) -> bool:
    return fnmatchcase(_fold_name(relative if "/" in glob else name), _fold_name(glob))


def _fold_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()


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
