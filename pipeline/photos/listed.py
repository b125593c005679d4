"""The photos of a list: a text file with a path or a URL a line, or a Parquet file with the column path."""

import codecs
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, one_line
from pipeline.photos.bucket import is_object_gone
from pipeline.photos.discover import is_file_gone, refer_to_file
from pipeline.photos.folder_walk import escape
from pipeline.photos.list_names import LIST_EXTENSIONS
from pipeline.photos.selection import Selection
from pipeline.records import ImageRef
from pipeline.storage.clients import ObjectRefusedError
from pipeline.storage.files import open_parquet, read_bytes
from pipeline.storage.location import Location, ObjectUrl, is_url, parse_location
from pipeline.storage.object_store import find_object

_CHUNK = 8192  # photos
_REQUESTS_AT_ONCE = 16
_COLUMN = "path"


class ListedSource:
    """The photos named in a list, whatever their extension.

    Relative names start at the folder of the list. A photo's path in the table is its name relative to that folder;
    outside it, its absolute path or its URL.
    """

    def __init__(self, file: Location, selection: Selection | None = None) -> None:
        """Remember the settings; nothing is read.

        Args:
            file: the list.
            selection: its globs select from the list.
        """
        self._file, self._selection = file, selection or Selection()
        self._unreadable: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The list."""
        return str(self._file)

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Nothing: a list names photos, not folders."""
        return self._unreadable

    @property
    def left_out(self) -> Mapping[str, int]:
        """Nothing: whoever names a photo wants it."""
        return {}

    def chunks(self) -> Iterator[list[ImageRef]]:
        """Yield the photos, some thousand at a time, in the order of the list; each once.

        Raises:
            ConfigError: the list can't be read, or names something of another kind.
            StoreError: a bucket doesn't answer.
        """
        names = self._read_names()
        seen: set[int] = set()  # hashes: ten million paths take too much memory
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
            while chunk := list(islice(names, _CHUNK)):
                refs = {ref.path: ref for ref in threads.map(self._make_ref, chunk) if self._selects(ref.path)}
                new = [ref for path, ref in refs.items() if hash(path) not in seen]
                seen.update(map(hash, refs))
                if new:
                    yield new

    def is_gone(self, paths: Sequence[str], raws: Sequence[bytes | None]) -> list[bool]:
        """Tell for each photo whether it is gone, listed or not."""
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
            return list(threads.map(self._is_gone, paths))

    def _selects(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return self._selection.wants_file(name, path) and not self._selection.is_excluded(name, path)

    def _read_names(self) -> Iterator[str]:
        try:
            if self._file.name.endswith(".parquet"):
                yield from _read_parquet(self._file)
            else:
                lines = io.BytesIO(read_bytes(self._file).removeprefix(codecs.BOM_UTF8))
                yield from filter(None, (os.fsdecode(line.strip(b"\r\n")) for line in lines))
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(f"{self._file}: the list can't be read ({one_line(error)})") from None

    def _make_ref(self, name: str) -> ImageRef:
        if "\0" in name or escape(name) != name:
            return ImageRef(escape(name), None, "", 0, 0, "can't be opened: the list gives no name in UTF-8")
        place = self._locate(name)
        path = self._name_photo(place)
        return _refer_to_object(place, path) if isinstance(place, ObjectUrl) else refer_to_file(str(place), path, None)

    def _locate(self, name: str) -> Location:
        if is_url(name):
            try:
                return parse_location(name)
            except ConfigError as error:
                raise ConfigError(f"{self._file}: {error}") from None
        if isinstance(self._file, Path):
            return Path(os.path.normpath(self._file.parent / name))
        if os.path.isabs(name):
            return Path(name)
        return self._file.parent / name

    def _name_photo(self, place: Location) -> str:
        base = self._file.parent
        if isinstance(place, ObjectUrl):
            if isinstance(base, ObjectUrl) and place.is_relative_to(base):
                return place.key.removeprefix(base.key).strip("/")
            return str(place)
        return str(place.relative_to(base)) if isinstance(base, Path) and place.is_relative_to(base) else str(place)

    def _is_gone(self, path: str) -> bool:
        try:
            place = self._locate(path)
        except ConfigError:  # of another list
            return False
        return is_object_gone(place) if isinstance(place, ObjectUrl) else is_file_gone(os.fsencode(place))


def is_list(place: Location) -> bool:
    """Tell whether an input is a list of photos, by its extension."""
    is_named_so = place.name.endswith(LIST_EXTENSIONS)
    return is_named_so and not (isinstance(place, Path) and place.is_dir())


def _read_parquet(file: Location) -> Iterator[str]:
    with pq.ParquetFile(open_parquet(file)) as table:
        column = _find_column(file, table.schema_arrow)
        for batch in table.iter_batches(columns=[column]):
            yield from filter(None, batch[column].cast(pa.string()).to_pylist())


def _find_column(file: Location, schema: pa.Schema) -> str:
    """Return the column with the paths: `path`, or the only one with texts."""
    if _COLUMN in schema.names:
        return _COLUMN
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    if len(texts) == 1:
        return str(texts[0])
    raise ConfigError(f"{file}: a list of photos needs the column {_COLUMN}, has {', '.join(schema.names)}")


def _refer_to_object(url: ObjectUrl, path: str) -> ImageRef:
    try:
        entry = find_object(url)
    except ObjectRefusedError as error:
        return ImageRef(path, None, str(url), 0, 0, f"can't be opened: {error}")
    if entry is None:
        return ImageRef(path, None, str(url), 0, 0, "can't be opened: no such object")
    return ImageRef(path, None, str(url), entry.size, entry.mtime_ns, version=entry.version)
