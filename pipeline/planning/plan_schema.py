"""The plan as a table: one row for each photo to process, sorted by path."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.records import ImageRef
from pipeline.storage.location import Location

PLAN_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("path_bytes", pa.binary()),
        pa.field("location", pa.string()),  # full path or URL of a photo of a list; null: input/path
        pa.field("file_bytes", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("version", pa.string()),
        pa.field("problem", pa.string()),
        pa.field("failed_before", pa.bool_()),
        pa.field("clashes", pa.bool_()),  # with the name of another photo, on some disk
        pa.field("expected", pa.int32()),  # id of the label to explain; null: by the settings
        pa.field("sampled", pa.bool_()),  # gets an overlay, where only a sample does
    ]
)


def plan_of_refs(
    refs: Sequence[ImageRef], source: Location | str, failed_before: Sequence[bool], expected: Mapping[str, int] | None
) -> pa.Table:
    """Return photos as rows of a plan, without clashes and samples.

    Args:
        refs: the photos.
        source: the input: a folder, a list, or the URL of a prefix.
        failed_before: for each photo, whether it has a failed row.
        expected: label ids by path, or None.
    """
    locations = [None if ref.file == _locate_photo(source, ref.path, ref.path_bytes) else ref.file for ref in refs]
    columns: dict[str, Sequence[object]] = {
        "path_bytes": [ref.path_bytes for ref in refs],
        "location": locations,
        "file_bytes": [ref.file_bytes for ref in refs],
        "mtime_ns": [ref.mtime_ns for ref in refs],
        "version": [ref.version for ref in refs],
        "problem": [ref.problem for ref in refs],
        "failed_before": failed_before,
        "clashes": [False] * len(refs),
        "expected": [expected.get(ref.path) if expected else None for ref in refs],
        "sampled": [False] * len(refs),
    }
    arrays = [_to_column(columns[name], PLAN_SCHEMA.field(name).type) for name in PLAN_SCHEMA.names[1:]]
    return pa.Table.from_arrays([_to_texts([ref.path for ref in refs]), *arrays], schema=PLAN_SCHEMA)


def refs_of_plan(table: pa.Table | pa.RecordBatch, source: Location | str) -> list[ImageRef]:
    """Return the photos of a plan, or of a part of it.

    Args:
        table: columns of `PLAN_SCHEMA`.
        source: the input: a folder, or the URL of a prefix.
    """
    names = ("path", "path_bytes", "location", "file_bytes", "mtime_ns", "problem", "version")
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    return [
        ImageRef(path, raw, location or _locate_photo(source, path, raw), file_bytes, mtime_ns, problem, version)
        for path, raw, location, file_bytes, mtime_ns, problem, version in rows
    ]


def _locate_photo(source: Location | str, path: str, raw: bytes | None) -> str:
    if isinstance(source, Path):
        return os.fsdecode(os.path.join(os.fsencode(source), raw or os.fsencode(path)))
    return f"{str(source).rstrip('/')}/{path}"


def _to_column(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """Convert a column; one of equal values shares its memory with others of its length, and most are all null."""
    is_constant = bool(values) and values.count(values[0]) == len(values)
    return _repeat_value(values[0], kind, len(values)) if is_constant else pa.array(values, kind)


@lru_cache(maxsize=64)
def _repeat_value(value: object, kind: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), count)


def _to_texts(texts: Sequence[str]) -> pa.Array:
    """Convert texts in exactly the memory needed; pa.array grows its buffers by doubling them."""
    encoded = [text.encode() for text in texts]
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, encoded), np.int32, len(texts)), out=ends[1:])
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])
