"""Objects in a bucket: reading, listing, and the storage of results in it."""

import io
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from pipeline.errors import ConfigError, StoreError
from pipeline.storage.clients import at_start, explain_faults, open_client
from pipeline.storage.entry import Entry
from pipeline.storage.location import ObjectUrl

_CREATE_TRIES = 5
_DELETES_AT_ONCE = 8
_FOOTER_BYTES = 65_536  # most footers of Parquet parts fit
_BLOCK_BYTES = 2**20  # smaller objects are read whole


class ObjectStorage:
    """The objects below a prefix. A name is committed by one conditional PUT; nothing is ever renamed."""

    def __init__(self, root: ObjectUrl) -> None:
        """Remember the prefix; no request is made."""
        self._root = root

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless its name is taken; return whether it was written.

        False too if the answer to the own write was lost and the client tried again: the name is taken by this content.

        Raises:
            StoreError: the store refuses it, or doesn't answer.
        """
        url, client = self._root / name, open_client(self._root)
        from obstore.exceptions import AlreadyExistsError

        for number in range(_CREATE_TRIES):
            try:
                with explain_faults(url):
                    client.put(url.key, content, mode="create", use_multipart=False)
                return True
            except FileNotFoundError:
                raise StoreError(f"{url}: the store refuses it as not found; check the bucket") from None
            except AlreadyExistsError:
                # also the answer to a conflict of two writers (409), and then perhaps neither has written
                if find_object(url) is not None:
                    return False
                time.sleep(0.1 * 2**number)
        raise StoreError(f"{url}: the store says both that it exists and that it doesn't; run again to go on")

    def put(self, name: str, content: bytes) -> None:
        """Write an object, also over another one. Raises as `create`."""
        url, client = self._root / name, open_client(self._root)
        with explain_faults(url):
            client.put(url.key, content, use_multipart=False)

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; missing ones are fine. Raises as `create`."""
        names = list(names)
        if len(names) <= 1:
            for name in names:
                self._delete_one(name)
            return
        with ThreadPoolExecutor(_DELETES_AT_ONCE) as threads:
            for _ in threads.map(self._delete_one, names):
                pass

    def probe(self) -> None:
        """Check that the store can be written, and refuses to create an object twice.

        Raises:
            ConfigError: it can't be used.
        """
        name = f"tmp/{uuid.uuid4().hex}"
        first, second = b"first", b"second"
        with at_start():
            try:
                is_conditional = self.create(name, first) and not self.create(name, second)
                is_conditional = is_conditional and read_object(self._root / name) == first
            except FileNotFoundError:
                raise StoreError(f"{self._root}: an object just written can't be read; use another store") from None
            finally:
                with suppress(StoreError):
                    self._delete_one(name)
        if not is_conditional:
            raise ConfigError(
                f"{self._root}: ignores conditional writes, so two runs could write the same rows; use another store"
            )

    def _delete_one(self, name: str) -> None:
        url, client = self._root / name, open_client(self._root)
        with suppress(FileNotFoundError), explain_faults(url):
            client.delete(url.key)


def find_object(url: ObjectUrl) -> Entry | None:
    """Return an object's entry; None if there is no such object."""
    client = open_client(url)
    try:
        with explain_faults(url):
            return _to_entry(client.head(url.key), url.name)
    except FileNotFoundError:
        return None


def read_object(url: ObjectUrl, version: str | None = None) -> bytes:
    """Read an object, in the version asked for.

    Raises:
        FileNotFoundError: there is no such object.
        ObjectChangedError: it has another version.
        StoreError: the store refuses it, or doesn't answer.
    """
    client = open_client(url)
    with explain_faults(url):
        answer = client.get(url.key, options={"if_match": version} if version else None)
        return bytes(answer.bytes())


def list_objects(prefix: ObjectUrl) -> list[Entry]:
    """List the objects directly below a prefix, sorted by name. Raises as `list_level`."""
    return list_level(prefix)[0]


def list_level(prefix: ObjectUrl) -> tuple[list[Entry], list[str]]:
    """List the objects directly below a prefix, and the names of the folders there, both sorted.

    Raises:
        BadKeyError: it has a key with an empty part between slashes, or . or ..
        StoreError: the store refuses it, or doesn't answer.
    """
    client = open_client(prefix)
    with explain_faults(prefix):
        found = client.list_with_delimiter(prefix.key or None)
    entries = [_to_entry(meta, meta["path"].rpartition("/")[2]) for meta in found["objects"]]
    folders = [str(path).rpartition("/")[2] for path in found["common_prefixes"]]
    return sorted(entries, key=lambda entry: entry.name), sorted(folders)


def find_first(prefix: ObjectUrl) -> Entry | None:
    """Return one of the objects below a prefix; None without any."""
    chunks = _list_chunks(prefix, 1)
    return next((entry for chunk in chunks for entry in chunk), None)


def walk_objects(prefix: ObjectUrl) -> Iterator[list[Entry]]:
    """Yield all objects below a prefix, some thousand at a time; their names are relative to it.

    Raises:
        BadKeyError: it has a key with an empty part between slashes, or . or ..
        StoreError: the store refuses it, or doesn't answer.
    """
    return _list_chunks(prefix, 8192)


class ObjectReader(io.RawIOBase):
    """An object as a file to seek in: its last bytes are read at once, others on demand."""

    def __init__(self, url: ObjectUrl) -> None:
        """Read the end of the object.

        Raises:
            FileNotFoundError: there is no such object.
            StoreError: the store refuses it, or doesn't answer.
        """
        super().__init__()
        self._url, self._client, self._position = url, open_client(url), 0
        with explain_faults(url):
            answer = self._client.get(url.key, options={"range": self._choose_footer_range()})
            self._size, self._version = int(answer.meta["size"]), answer.meta["e_tag"]
            content = bytes(answer.bytes())
        self._block = (self._size - len(content), content)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, fewer at the end; all by default."""
        left = max(0, self._size - self._position)
        size = left if size is None or size < 0 else min(size, left)
        content = self._read_range(self._position, size) if size else b""
        self._position += len(content)
        return content

    def readall(self) -> bytes:
        """Read the rest."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _choose_footer_range(self) -> Any:
        if self._url.scheme != "az":
            return {"suffix": _FOOTER_BYTES}
        size = int(self._client.head(self._url.key)["size"])  # Azure knows no ranges from the end
        return (max(0, size - _FOOTER_BYTES), size)

    def _read_range(self, start: int, size: int) -> bytes:
        """Read from the block in memory, or fetch another one: of a small object the whole, in one request."""
        first, content = self._block
        if not first <= start <= start + size <= first + len(content):
            first = 0 if self._size <= _BLOCK_BYTES else start
            end = min(self._size, max(start + size, first + _BLOCK_BYTES))
            with explain_faults(self._url):
                options = {"range": (first, end), "if_match": self._version}
                content = bytes(self._client.get(self._url.key, options=options).bytes())
            self._block = (first, content)
        return content[start - first :][:size]


def _list_chunks(prefix: ObjectUrl, size: int) -> Iterator[list[Entry]]:
    client = open_client(prefix)
    start = len(prefix.key) + 1 if prefix.key else 0
    with explain_faults(prefix):
        for chunk in client.list(prefix.key or None, chunk_size=size):
            yield [_to_entry(meta, meta["path"][start:]) for meta in chunk]


def _to_entry(meta: Any, name: str) -> Entry:
    modified = meta["last_modified"]
    return Entry(name, int(meta["size"]), int(modified.timestamp() * 1_000_000) * 1000, meta["e_tag"])
