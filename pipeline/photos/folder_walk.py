"""The walk through a folder, in the order of the paths, so that nobody has to sort millions of them."""

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from pipeline.photos.decode import extensions
from pipeline.photos.left_out import find_format_problem
from pipeline.photos.selection import Selection

log = logging.getLogger(__name__)

_LINKED_FOLDER = "symlinked folder (not followed)"
_MARKED_BY_NAME = ".sS"  # first characters of all names left out whatever their extension: .*, ._*, SYNO*


def escape(name: str) -> str:
    r"""Convert a file name to text: bytes outside UTF-8 become `\xNN`."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


class FolderWalk:
    """A walk through the folders below a root, with its account of everything left out.

    Attributes:
        unreadable: reasons by folder, for folders impossible to list.
        left_out: pictures and folders left out, counted by rule.
    """

    def __init__(self, root: str, selection: Selection, skip: Path | None) -> None:
        """Remember the settings.

        Args:
            root: the folder.
            selection: the part of it to walk through.
            skip: a folder never to enter.
        """
        self.unreadable: dict[str, str] = {}
        self.left_out: Counter[str] = Counter()
        self._root, self._selection, self._skip = os.path.join(root, ""), selection, skip
        self._has_globs = selection.pattern is not None or bool(selection.exclude)
        self._entered: set[tuple[int, int]] = set()
        self._links: list[str] = []  # to folders, met on the walk below one root, relative
        self._is_photo_by_extension: dict[str, bool | None] = {}

    def list_photos(self) -> Iterator[str]:
        """Yield the relative name of each photo, sorted by its escaped form; photos of linked folders come last."""
        if self._skip is not None and self._skip.exists():
            self._entered.add((self._skip.stat().st_dev, self._skip.stat().st_ino))
        linked = deque([""])
        while linked:
            yield from self._walk_real_folders(linked.popleft())
            # in the order of earlier versions: of two links to one folder, the first gives its photos their paths
            linked.extend(sorted(self._links, key=_order_link))
            self._links = []

    def _walk_real_folders(self, start: str) -> Iterator[str]:
        stack = [(start, iter(self._list_folder(start)))]
        while stack:
            prefix, names = stack[-1]
            for name in names:
                if name[-1] == "/":
                    stack.append((prefix + name, iter(self._list_folder(prefix + name))))
                    break
                yield prefix + name
            else:
                stack.pop()

    def _list_folder(self, prefix: str) -> list[str]:
        """Return the names of photos, and those of folders with a `/`: sorted, and so are the paths of a whole walk."""
        folder = self._root + prefix
        names = []
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in self._entered:
                return []
            self._entered.add((status.st_dev, status.st_ino))
            for entry in os.scandir(folder):
                if not _is_folder(entry):
                    if self._wants_file(entry.name, prefix):
                        names.append(entry.name)
                elif self._wants_folder(entry, prefix):
                    names.append(entry.name + "/")
        except OSError as error:
            self._note_unreadable(folder, error)
            return []
        if all(map(str.isascii, names)):
            names.sort()
        else:
            names.sort(key=lambda name: (escape(name), name))
        return names

    def _wants_folder(self, entry: os.DirEntry[str], prefix: str) -> bool:
        relative = prefix + entry.name
        if rule := self._selection.find_folder_rule(entry.name, relative):
            self.left_out[rule] += 1
        elif not entry.is_symlink():
            return True
        elif self._selection.follow_links:
            self._links.append(relative + "/")
        else:
            self.left_out[_LINKED_FOLDER] += 1
        return False

    def _wants_file(self, name: str, prefix: str) -> bool:
        stem, _, extension = name.rpartition(".")
        is_photo = self._is_photo_by_extension.get(extension, False)
        if is_photo and stem and name[0] not in _MARKED_BY_NAME and not self._has_globs:
            return True  # nearly all files, so nearly all the time
        if extension not in self._is_photo_by_extension:
            self._is_photo_by_extension[extension] = is_photo = judge_extension(extension)
        if not stem or is_photo is None or not self._selection.wants_file(name, prefix + name):
            return False
        if rule := self._selection.find_file_rule(name, prefix + name, self._root + prefix + name):
            self.left_out[rule] += 1
        return not rule

    def _note_unreadable(self, folder: str, error: OSError) -> None:
        name = escape(os.path.relpath(folder, self._root))
        self.unreadable[name] = error.strerror or str(error)
        log.warning("can't read folder %s: %s; photos in it are not processed", name, self.unreadable[name])


def judge_extension(extension: str) -> bool | None:
    """Return True for photos, False for pictures that can't be read, None for files of other kinds."""
    if find_format_problem(f"photo.{extension}"):
        return False
    return True if extension.lower() in extensions() else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _order_link(link: str) -> tuple[list[tuple[int, ...]], str]:
    """Order links by their folder, each before its subfolders and those last to first, and in it by name."""
    *folders, name = link.removesuffix("/").split("/")
    return [(*(-ord(letter) for letter in folder), 1) for folder in folders], name
