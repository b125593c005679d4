"""The rows of a results folder for the reviewers: the newest row of every photo with a prediction, sorted by path.

They stay an Arrow table, a tenth of the memory of Python objects. A row's number is its place here, fixed as long as
the server lives. Maps are not among the columns: see `pipeline.review.row_maps`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.records import Floats
from pipeline.results.input_of_results import input_folder_of_results
from pipeline.results.names import TABLE, part_files
from pipeline.results.parts import concatenate_parts, newest_rows, read_part
from pipeline.results.schema import SCHEMA
from pipeline.reviews.audit import audit_position
from pipeline.storage.location import Location

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_WANTED = (
    "path", "path_bytes", "content_hash", "file_bytes", "mtime", "width", "height", "note", "label", "score",
    "top_labels", "top_scores", "overlay", "model", "method", "fingerprint", "run_id", "defect_score", "decision",
)  # fmt: skip
COLUMNS = tuple(name for name in _WANTED if name in SCHEMA.names)


@dataclass(frozen=True)
class RowPlaces:
    """Where rows lie in the table's parts.

    Attributes:
        parts: files of the table.
        part_rows: number of rows in each.
        numbers: of each row, counted through all parts.
    """

    parts: tuple[Location, ...]
    part_rows: tuple[int, ...]
    numbers: Integers

    def find(self, row: int) -> tuple[Location, int]:
        """Return the part with a row, and the row's number in it."""
        ends = np.cumsum(self.part_rows)
        part = int(np.searchsorted(ends, self.numbers[row], side="right"))
        return self.parts[part], int(self.numbers[row] - ends[part] + self.part_rows[part])


@dataclass(frozen=True)
class ReviewRows:
    """The rows, and arrays made from them, one value a row.

    Attributes:
        out: the results folder.
        source: its input folder, None if unknown.
        table: with `COLUMNS`.
        selected: rows meeting the condition of --where; all without one.
        failed: number of photos without a prediction, left out.
        places: the parts of the table with these rows.
    """

    out: Path
    source: Path | None
    table: pa.Table
    selected: Flags
    failed: int
    places: RowPlaces

    def __len__(self) -> int:
        return len(self.table)

    def value(self, column: str, row: int) -> Any:
        """Return one value as a Python object; None where it is missing, or for a column of later versions."""
        return self.table[column][row].as_py() if column in self.table.column_names else None

    def find_hash(self, content_hash: str) -> Integers:
        """Return the rows of the photos with this content."""
        order = self._order_of_hashes
        wanted = np.array([content_hash.encode("ascii", "replace")], self.content_hashes.dtype)
        if wanted[0].decode("ascii") != content_hash:  # longer than any of them
            return np.empty(0, np.int64)
        start, end = (
            np.searchsorted(self.content_hashes, wanted, side=side, sorter=order)[0] for side in ("left", "right")
        )
        return np.sort(order[start:end])

    def find_path(self, path: str) -> int | None:
        """Return the row of a photo by its path."""
        row = pc.index(self.table["path"], pa.scalar(path, pa.string())).as_py()
        return None if row < 0 else int(row)

    def photo_file(self, row: int) -> bytes | None:
        """Return the name of a photo's file for the system; None for a path out of the input folder."""
        path = self.value("path_bytes", row) or os.fsencode(self.value("path", row))
        parts = PurePosixPath(os.fsdecode(path)).parts
        if self.source is None or b"\0" in path or ".." in parts or path.startswith(b"/"):
            return None
        return os.path.join(os.fsencode(self.source), path)

    @cached_property
    def content_hashes(self) -> npt.NDArray[np.bytes_]:
        """The content hashes, as ASCII bytes."""
        return np.array(self.table["content_hash"].fill_null("").to_pylist(), dtype=np.bytes_)

    @cached_property
    def scores(self) -> Floats:
        """The best probability of each row, 0..1."""
        scores: Floats = self.table["score"].fill_null(0).to_numpy().astype(np.float32)
        return scores

    @cached_property
    def margins(self) -> Floats:
        """The best minus the second-best probability of each row, 0..1."""
        lists = self.table["top_scores"].combine_chunks()
        starts, ends = lists.offsets.to_numpy()[:-1], lists.offsets.to_numpy()[1:]
        values = np.append(lists.values.to_numpy(zero_copy_only=False), np.zeros(2, np.float32))
        second = np.where(ends - starts > 1, values[starts + 1], 0)
        margins: Floats = (self.scores - second).astype(np.float32)
        return margins

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The labels in the table; `label_codes` are places in it."""
        return tuple(pc.unique(self.table["label"].cast(pa.string())).to_pylist())

    @cached_property
    def label_codes(self) -> npt.NDArray[np.int32]:
        """The label of each row, as a place in `label_names`."""
        names = pa.array(self.label_names, pa.string())
        codes: npt.NDArray[np.int32] = pc.index_in(self.table["label"].cast(pa.string()), names).to_numpy()
        return codes

    @cached_property
    def audit_positions(self) -> npt.NDArray[np.float64]:
        """The place of each photo in the audit, 0..1: the audit of rate r has the places below r."""
        return np.array([audit_position(value.decode("ascii")) for value in self.content_hashes], np.float64)

    @cached_property
    def _order_of_hashes(self) -> Integers:
        return np.argsort(self.content_hashes, kind="stable").astype(np.int64)


def read_rows(out: Path, condition: pc.Expression | None = None) -> ReviewRows:
    """Read the newest row of every photo with a prediction.

    Args:
        out: the results folder.
        condition: on the rows, for `ReviewRows.selected`; None selects all.

    Raises:
        ConfigError: it is not a results folder, or has no such row.
        StoreError: a part is damaged.
    """
    if not (out / TABLE).is_dir():
        raise ConfigError(f"{out} is not a results folder: it has no table/; name the --out of a run")
    table, places = _read_newest(out, condition)
    is_ok = pc.equal(table["status"].cast(pa.string()), "ok")
    failed = len(table) - int(pc.sum(is_ok).as_py() or 0)
    table, numbers = table.filter(is_ok), places.numbers[is_ok.to_numpy()]
    if not len(table):
        photos = f"{failed} failed photos, see vitrollout status" if failed else "no photos yet"
        raise ConfigError(f"{out} has nothing to review: {photos}; run vitrollout on its input folder first")
    selected = table["selected"].combine_chunks().to_numpy(zero_copy_only=False)
    source = input_folder_of_results(out)
    table = table.select(COLUMNS).combine_chunks()
    return ReviewRows(out, Path(source) if source else None, table, selected, failed, replace(places, numbers=numbers))


def read_parts(out: Path, names: Sequence[str]) -> tuple[list[Location], list[pa.Table]]:
    """Read columns of all parts of the table as they are at one moment."""
    while True:
        try:
            parts = part_files(out)
            return parts, [read_part(part, names) for part in parts]
        except FileNotFoundError:
            continue  # compacted meanwhile; the new parts have the rows


def _read_newest(out: Path, condition: pc.Expression | None) -> tuple[pa.Table, RowPlaces]:
    """Read `COLUMNS`, status and selected of the newest rows, sorted by path, and their places."""
    names = [*COLUMNS, "status"]
    if condition is not None:  # a few more columns for the condition, never the bulk of the table
        names += [
            name for name in SCHEMA.names if name not in names and not pa.types.is_nested(SCHEMA.field(name).type)
        ]
    parts, tables = read_parts(out, names)
    table = concatenate_parts(tables, names)
    newest = newest_rows(table)
    table = table.take(newest)
    selected = np.ones(len(table), bool)
    if condition is not None:
        numbered = table.append_column("row", pa.array(np.arange(len(table))))
        selected[:] = False
        selected[numbered.filter(condition)["row"].to_numpy()] = True
    places = RowPlaces(tuple(parts), tuple(map(len, tables)), newest.to_numpy().astype(np.int64))
    return table.append_column("selected", pa.array(selected)), places
