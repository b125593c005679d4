"""The rows of a results folder's table, as far as an export needs them, and the state of their files."""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.dataset.reviewed import find_input_folder
from pipeline.photos.content import hash_file
from pipeline.records import ImageRef
from pipeline.results.read import read_results

_COLUMNS = [
    "path", "path_bytes", "content_hash", "file_bytes", "mtime", "width", "height", "status", "error", "label",
    "label_id", "score", "fingerprint", "run_id",
]  # fmt: skip


@dataclass(frozen=True, slots=True)  # an export holds one for each photo of the archive
class ResultRow:
    """One current row of the table, see its schema; mtime is in nanoseconds, and file is the photo, for opening."""

    path: str
    file: str
    content_hash: str | None
    file_bytes: int
    mtime: int
    width: int
    height: int
    error: str | None
    label: str | None
    label_id: int
    score: float
    fingerprint: str
    run_id: str


def read_rows(out: Path) -> list[ResultRow]:
    """Read the current rows, ordered by path.

    Raises:
        ConfigError, DataError: the folder holds no results.
        StoreError: a part is damaged.
    """
    frame = read_results(out, columns=_COLUMNS)
    source = find_input_folder(out)
    root = os.fsencode(source)
    frame["mtime"] = frame["mtime"].astype("int64")
    frame = frame.astype({"width": "Int64", "height": "Int64", "label_id": "Int64"})
    frame = frame.fillna({"width": 0, "height": 0, "label_id": -1, "score": 0.0})
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in _COLUMNS}
    raw_paths, states = columns.pop("path_bytes"), columns.pop("status")
    files = [
        os.fsdecode(os.path.join(root, raw or os.fsencode(path)))
        for raw, path in zip(raw_paths, columns["path"], strict=True)
    ]
    columns["error"] = [
        (error or "failed") if state == "failed" else None
        for error, state in zip(columns["error"], states, strict=True)
    ]
    rows = zip(files, *columns.values(), strict=True)
    return [ResultRow(file=file, **dict(zip(columns, values, strict=True))) for file, *values in rows]


def find_fault(row: ResultRow) -> tuple[str, str | None] | None:
    """Check that the photo of a row can be read and is still the same; else return a reason and its detail.

    A file with size and time of its row is taken to be the same, as a run does; any other is read.
    """
    if row.error is not None:
        return "unreadable", row.error
    try:
        status = os.stat(row.file)
    except OSError as error:
        return "gone", error.strerror
    if (status.st_size, status.st_mtime_ns) == (row.file_bytes, row.mtime):
        return None
    content_hash = hash_file(ImageRef(row.path, None, row.file, status.st_size, status.st_mtime_ns))
    if content_hash is None:
        return "unreadable", "can't be read"
    return None if content_hash == row.content_hash else ("changed", "since the last run; run again")
