"""The plan as a table: one row for each photo to process, sorted by path."""

import os
from pathlib import Path

import pyarrow as pa

from pipeline.records import ImageRef

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


def refs_of_plan(table: pa.Table, source: Path | str) -> list[ImageRef]:
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


def _locate_photo(source: Path | str, path: str, raw: bytes | None) -> str:
    if isinstance(source, Path):
        return os.fsdecode(os.path.join(os.fsencode(source), raw or os.fsencode(path)))
    return f"{source.rstrip('/')}/{path}"
