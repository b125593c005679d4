"""The photos below a prefix of a bucket, sorted by path, under the same rules as those of a folder."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.photos.left_out import sort_left_out
from pipeline.photos.name_rules import NameRules
from pipeline.photos.selection import Selection
from pipeline.records import ImageRef
from pipeline.storage.clients import BadKeyError, ObjectRefusedError
from pipeline.storage.entry import Entry
from pipeline.storage.location import ObjectUrl
from pipeline.storage.object_store import find_object, list_level, walk_objects

log = logging.getLogger(__name__)

_BAD_KEY = "a key below it has an empty part, . or .. between slashes"
_REQUESTS_AT_ONCE = 16


class BucketSource:
    """The photos below a prefix, by extension. Their version is the ETag of the listing.

    The listing is taken in one go. If it holds a key that can't be read, such as a//b.jpg, it is taken once more
    folder by folder, and only the folder of that key counts as unreadable.
    """

    def __init__(self, root: ObjectUrl, selection: Selection | None = None) -> None:
        """Remember the settings; no request is made.

        Args:
            root: the prefix.
            selection: the part of it to take.
        """
        self._root, self._selection = root, selection or Selection()
        self._rules = NameRules(self._selection)
        self._unreadable: dict[str, str] = {}
        self._empty: set[str] = set()

    @property
    def name(self) -> str:
        """The URL of the prefix."""
        return str(self._root)

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Reasons by folder, for folders impossible to list."""
        return self._unreadable

    @property
    def left_out(self) -> Mapping[str, int]:
        """Pictures and folders left out, counted by rule; objects of other kinds are not counted."""
        return sort_left_out(self._rules.left_out)

    def chunks(self) -> Iterator[list[ImageRef]]:
        """Yield all photos, some thousand at a time, in the order of the listing.

        Raises:
            StoreError: the store refuses the listing, or doesn't answer.
        """
        self._rules, self._unreadable, self._empty = NameRules(self._selection), {}, set()
        last = ""
        try:
            for entries in walk_objects(self._root):
                if refs := self._select(entries):
                    yield refs
                last = entries[-1].name if entries else last
        except BadKeyError:
            for entries in self._walk_levels():
                if refs := self._select([entry for entry in entries if entry.name > last]):
                    yield refs

    def is_gone(self, paths: Sequence[str], raws: Sequence[bytes | None]) -> list[bool]:
        """Tell for each photo whether there is no such object."""
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
            return list(threads.map(is_object_gone, [self._root / path for path in paths]))

    def _select(self, entries: Sequence[Entry]) -> list[ImageRef]:
        wanted = [entry for entry in entries if self._rules.wants(entry.name)]
        return [self._make_ref(entry) for entry in wanted if entry.size or self._is_file(entry)]

    def _make_ref(self, entry: Entry) -> ImageRef:
        file = str(self._root / entry.name)
        return ImageRef(entry.name, None, file, entry.size, entry.mtime_ns, version=entry.version)

    def _is_file(self, entry: Entry) -> bool:
        """Tell an empty object from the mark of a folder, whose slash at the end is missing in listings."""
        if entry.name in self._empty:
            return False
        self._empty.add(entry.name)
        found = find_object(self._root / entry.name)
        return found is not None and found.size == 0

    def _walk_levels(self) -> Iterator[list[Entry]]:
        """List folder by folder, in the order of the keys but for folders beside files."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                entries, folders = list_level(self._root / folder if folder else self._root)
            except BadKeyError:
                name = folder or "."
                self._unreadable[name] = _BAD_KEY
                log.warning("can't read folder %s: %s; photos in it are not processed", name, _BAD_KEY)
                continue
            prefix = f"{folder}/" if folder else ""
            yield [Entry(prefix + entry.name, entry.size, entry.mtime_ns, entry.version) for entry in entries]
            waiting.extend(prefix + name for name in reversed(folders))


def is_object_gone(url: ObjectUrl) -> bool:
    """Tell whether there is no such object; one out of reach may be there tomorrow."""
    try:
        return find_object(url) is None
    except ObjectRefusedError as error:
        log.warning("%s; its row stays", error)
        return False
