"""Paths in CSVs -> files. Every command reads them here, by the same rules."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class CsvPath:
    """A path of a CSV.

    Attributes:
        name: relative to the folder, `/` separators, as spelled on the disk; absolute for an absolute path to a file
            elsewhere. Use it as a key, and never join it to another folder if it is absolute.
        file: the file, for opening; it may be missing.
    """

    name: str
    file: Path


def resolve_csv_path(text: str, folder: Path) -> CsvPath:
    r"""Find the file meant by a path in a CSV: for `trust`'s photos, boxes and masks as for all other commands.

    Relative paths start at `folder`. An absolute path into it gets the same name as the relative one, also if the two
    differ by a symlink. If there is no file under the exact name, one in another Unicode form counts (`ü` in one
    character or in two), then one without the blanks around the path, then one with `/` in place of `\`.

    Args:
        text: as written, not empty.
        folder: the data set's, usually the folder of the CSV.
    """
    spellings = _list_spellings(text)
    existing = (file for spelling in spellings if (file := _find_file(os.path.join(folder, spelling))))
    file = next(existing, os.path.join(folder, text))
    return CsvPath(_name_in_folder(file, folder, is_absolute=os.path.isabs(text.strip())), Path(file))


def name_csv_path(text: str, folder: Path) -> str:
    """Return the name of a path in a CSV as `resolve_csv_path` does, without a look at the disk for relative paths."""
    return _name_in_folder(os.path.join(folder, text), folder, is_absolute=os.path.isabs(text))


def match_names(values: Mapping[str, Value], names: Iterable[str]) -> dict[str, Value]:
    """Add values for names in another Unicode form: a name without a value gets that of its NFC twin."""
    by_nfc = {to_nfc(name): value for name, value in values.items()}
    twins = {name: by_nfc[twin] for name in names if name not in values and (twin := to_nfc(name)) in by_nfc}
    return {**values, **twins}


def to_nfc(text: str) -> str:
    """Return text in the composed Unicode form."""
    return unicodedata.normalize("NFC", text)


def _list_spellings(text: str) -> list[str]:
    stripped = text.strip()
    return list(dict.fromkeys((text, stripped, stripped.replace("\\", "/"))))


def _find_file(path: str) -> str | None:
    """Return the path of an existing file as the disk spells it, or None."""
    if os.path.isfile(path):
        return path
    if path.isascii():  # has no other form
        return None
    current = os.sep
    for part in Path(os.path.abspath(path)).parts[1:]:
        exact = os.path.join(current, part)
        if os.path.lexists(exact):
            current = exact
            continue
        twin = _list_names(current).get(to_nfc(part))
        if twin is None:
            return None
        current = os.path.join(current, twin)
    return current if os.path.isfile(current) else None


def _list_names(folder: str) -> dict[str, str]:
    try:
        return _list_names_at(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=64)
def _list_names_at(folder: str, mtime_ns: int) -> dict[str, str]:
    """Return the names in a folder by their composed form; the time keeps the cache fresh."""
    return {to_nfc(name): name for name in sorted(os.listdir(folder), reverse=True)}


def _name_in_folder(file: str, folder: Path, *, is_absolute: bool) -> str:
    path, root = os.path.abspath(file), os.path.abspath(folder)
    if not is_absolute:
        return Path(os.path.relpath(path, root)).as_posix()
    for candidate, base in _same_places(path, root):
        if Path(candidate).is_relative_to(base):
            return Path(candidate).relative_to(base).as_posix()
    return Path(path).as_posix()


def _same_places(path: str, root: str) -> Iterator[tuple[str, str]]:
    """Yield both paths as written, then with the symlinks of their folders followed."""
    yield path, root
    yield os.path.join(_follow_links(os.path.dirname(path)), os.path.basename(path)), _follow_links(root)


@lru_cache(maxsize=1024)
def _follow_links(folder: str) -> str:
    return os.path.realpath(folder)
