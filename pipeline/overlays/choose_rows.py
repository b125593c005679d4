"""Which rows of a table to draw, and the photos behind them. The table is read part by part."""

import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.overlays.config import OverlaysConfig
from pipeline.photos.list_names import LIST_EXTENSIONS
from pipeline.records import ImageRef
from pipeline.results.conditions import parse_where
from pipeline.results.current_rows import Hashes, find_current_rows, hash_paths
from pipeline.results.names import OVERLAYS, fold_name, part_files, thumbnail_name
from pipeline.results.parts import concatenate_parts, read_part
from pipeline.results.schema import SCHEMA
from pipeline.storage.location import Location, is_url

_CHUNK_ROWS = 1000  # drawn between two commits
_PLAIN_COLUMNS = [field.name for field in SCHEMA if not pa.types.is_nested(field.type)]


@dataclass(frozen=True)
class ChosenRows:
    """Rows to draw.

    Attributes:
        places: for each part with such rows, their numbers in it.
        there: further rows chosen, with their overlay in place.
        twins: hashes of folded names that several photos of the table share, see `find_twins`.
    """

    places: Sequence[tuple[Location, npt.NDArray[np.int64]]]
    there: int
    twins: Set[int]

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.places)

    def find_twins(self, paths: Sequence[str]) -> set[str]:
        """Return the paths with names indistinguishable, on some disk, from that of another photo of the table."""
        if not self.twins:
            return set()
        hashes = _hash_folded(paths).tolist()
        return {path for path, hashed in zip(paths, hashes, strict=True) if hashed in self.twins}

    def read_chunks(self) -> Iterator[pa.Table]:
        """Read the rows with all columns, some at a time."""
        waiting: list[pa.Table] = []
        for part, rows in self.places:
            waiting.append(read_part(part).take(pa.array(rows)))
            if sum(map(len, waiting)) >= _CHUNK_ROWS:
                table = concatenate_parts(waiting, SCHEMA.names)
                yield from (table.slice(start, _CHUNK_ROWS) for start in range(0, len(table), _CHUNK_ROWS))
                waiting = []
        if waiting:
            yield concatenate_parts(waiting, SCHEMA.names)


def choose_rows(config: OverlaysConfig) -> ChosenRows:
    """Find the current rows with a map that meet the condition, and are not drawn yet.

    Raises:
        StoreError: a part is damaged.
    """
    condition = pc.equal(pc.field("status").cast(pa.string()), "ok")
    if config.where:
        condition = condition & parse_where(config.where)
    parts = part_files(config.out)
    folded: list[Hashes] = []
    places: list[tuple[Location, npt.NDArray[np.int64]]] = []
    there, left = 0, np.inf if config.limit is None else config.limit
    for part, is_current in zip(parts, find_current_rows(parts), strict=True):
        rows = concatenate_parts([read_part(part, _PLAIN_COLUMNS)], _PLAIN_COLUMNS)
        rows = rows.append_column("row", pa.array(np.arange(len(rows)))).filter(pa.array(is_current))
        folded.append(_hash_folded(rows["path"].to_pylist()))
        chosen = rows.filter(condition)
        is_there = np.zeros(len(chosen), bool) if config.redraw else _find_drawn(config.out, chosen["overlay"])
        there += int(is_there.sum())
        to_draw = chosen["row"].to_numpy()[~is_there][: int(min(left, len(chosen)))]
        left -= len(to_draw)
        if len(to_draw):
            places.append((part, to_draw))
    return ChosenRows(places, there, _find_repeated(folded))


def list_photos(rows: pa.Table, source: str) -> list[ImageRef]:
    """Return the photos of rows, in their order.

    Args:
        rows: of `SCHEMA`.
        source: the input of the results folder.
    """
    columns = rows["path"], rows["path_bytes"], rows["file_bytes"], rows["mtime"].cast(pa.int64())
    is_list = source.endswith(LIST_EXTENSIONS) and not os.path.isdir(source)
    base = source.rpartition("/")[0] if is_list else source.rstrip("/")
    refs = []
    for path, raw, size, mtime in zip(*(column.to_pylist() for column in columns), strict=True):
        name = os.fsdecode(raw or os.fsencode(path))
        is_whole = is_list and (name.startswith("/") or is_url(name))  # a list may name photos anywhere
        file = name if is_whole else f"{base}/{name}"
        problem = None
        if _leads_out(name) and not is_whole:
            problem = "its path leads out of the input folder"
        elif not is_url(file) and not os.path.lexists(file):
            problem = "is gone from the input folder"
        refs.append(ImageRef(path, raw, file, size, mtime, problem))
    return refs


def safe_name(overlay: str | None) -> str | None:
    """Return the name of an overlay in a row, None if it would lead to another place than the folder of overlays."""
    return overlay if overlay and overlay.startswith(f"{OVERLAYS}/") and not _leads_out(overlay) else None


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name


def _find_drawn(out: Location, overlays: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Tell which overlays are in place with their thumbnails."""
    names = overlays.to_pylist()
    if isinstance(out, Path):
        drawn = (bool(name) and (out / name).exists() and (out / thumbnail_name(name)).exists() for name in names)
    else:
        drawn = (bool(name) for name in names)  # a request a name would take longer than drawing most of them
    return np.fromiter(drawn, np.bool_, len(names))


def _hash_folded(paths: Sequence[str]) -> Hashes:
    return hash_paths(pa.array(list(map(fold_name, paths)), pa.string()))


def _find_repeated(hashes: Sequence[Hashes]) -> Set[int]:
    ordered = np.sort(np.concatenate(hashes)) if hashes else np.empty(0, np.uint64)
    return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
