"""The Arrow schema of the table. Columns are only ever added, nullable, at the end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.records import Floats

SCHEMA_VERSION = "1"

_CATEGORY = pa.dictionary(pa.int32(), pa.string())
_FLOATS = pa.list_(pa.float32())  # no fixed size: parts from models with other grids must open together
DETECTION = pa.struct(
    [
        *(pa.field(side, pa.float32()) for side in ("x0", "y0", "x1", "y1")),
        pa.field("label", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("source", pa.string()),
    ]
)

SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("path_bytes", pa.binary()),
        pa.field("content_hash", pa.string()),
        pa.field("file_bytes", pa.int64()),
        pa.field("mtime", pa.timestamp("ns", tz="UTC")),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("status", _CATEGORY),
        pa.field("error", pa.string()),
        pa.field("note", pa.string()),
        pa.field("label", _CATEGORY),
        pa.field("label_id", pa.int32()),
        pa.field("score", pa.float32()),
        pa.field("top_labels", pa.list_(pa.string())),
        pa.field("top_scores", _FLOATS),
        pa.field("logits", _FLOATS),
        pa.field("attention", _FLOATS),
        pa.field("more_maps", pa.map_(pa.string(), _FLOATS)),
        pa.field("target", _CATEGORY),
        pa.field("versus", _CATEGORY),
        pa.field("grid_h", pa.int16()),
        pa.field("grid_w", pa.int16()),
        pa.field("map_box", _FLOATS),
        pa.field("overlay", pa.string()),
        pa.field("model", _CATEGORY),
        pa.field("method", _CATEGORY),
        pa.field("fingerprint", _CATEGORY),
        pa.field("run_id", _CATEGORY),
        pa.field("processed_at", pa.timestamp("us", tz="UTC")),
        pa.field("defect_score", pa.float32()),
        pa.field("decision", _CATEGORY),
        pa.field("unfamiliar", pa.float32()),
        pa.field("embedding", _FLOATS),
        pa.field("tile", pa.int32()),
        pa.field("tiles", pa.int32()),
        pa.field("tile_box", _FLOATS),
        pa.field("detections", pa.list_(DETECTION)),
    ],
    metadata={"schema_version": SCHEMA_VERSION},
)

CATEGORY_COLUMNS = [field.name for field in SCHEMA if pa.types.is_dictionary(field.type)]
FLOAT_LIST_COLUMNS = [field.name for field in SCHEMA if field.type == _FLOATS]


@dataclass(frozen=True)
class Row:
    """One row of the table. The fields are its columns; the README's table of columns has their meaning.

    mtime is in nanoseconds and processed_at in microseconds since 1970 UTC. A failed row has no prediction.
    """

    path: str
    path_bytes: bytes | None
    content_hash: str | None
    file_bytes: int
    mtime: int
    status: str
    model: str
    method: str
    fingerprint: str
    run_id: str
    processed_at: int
    error: str | None = None
    note: str | None = None
    width: int | None = None
    height: int | None = None
    label: str | None = None
    label_id: int | None = None
    score: float | None = None
    top_labels: Sequence[str] | None = None
    top_scores: Floats | None = None
    logits: Floats | None = None
    attention: Floats | None = None
    more_maps: Sequence[tuple[str, Floats]] | None = None
    target: str | None = None
    versus: str | None = None
    grid_h: int | None = None
    grid_w: int | None = None
    map_box: Sequence[float] | None = None
    overlay: str | None = None
    defect_score: float | None = None
    decision: str | None = None
    unfamiliar: float | None = None
    embedding: Floats | None = None
    tile: int | None = None
    tiles: int | None = None
    tile_box: Sequence[float] | None = None
    detections: Sequence[Mapping[str, Any]] | None = None


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Convert rows to an Arrow table of `SCHEMA`."""
    return build_table(len(rows), {field.name: [getattr(row, field.name) for row in rows] for field in SCHEMA})


def build_table(count: int, columns: Mapping[str, Sequence[Any] | pa.Array | None]) -> pa.Table:
    """Build a table of `SCHEMA`.

    Args:
        count: of rows.
        columns: by name, Arrow arrays or values for them; None and others: null.
    """
    arrays = [
        pa.nulls(count, field.type) if (values := columns.get(field.name)) is None else _to_array(values, field)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _to_array(values: Sequence[Any] | pa.Array, field: pa.Field) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    return _float_lists(values) if field.type == _FLOATS else pa.array(values, type=field.type)


def _float_lists(rows: Sequence[Sequence[float] | Floats | None]) -> pa.ListArray:
    """Convert lists of numbers, or None, in one buffer: `pa.array` takes 1 ms for a list of 768."""
    empty = np.empty(0, np.float32)
    lists = [empty if floats is None else np.asarray(floats, np.float32) for floats in rows]
    flat = pa.array(np.concatenate([empty, *lists]), pa.float32())
    mask = pa.array([floats is None for floats in rows], pa.bool_())
    return pa.ListArray.from_arrays(_offsets(map(len, lists)), flat, mask=mask)


def maps_by_method(rows: Sequence[Mapping[str, Floats]]) -> pa.MapArray | None:
    """Convert maps of further methods, photo by photo; None if there are none."""
    if not any(rows):
        return None
    names = pa.array([name for maps in rows for name in maps], pa.string())
    values = _float_lists([values.ravel() for maps in rows for values in maps.values()])
    return pa.MapArray.from_arrays(_offsets(map(len, rows)), names, values)


def _offsets(lengths: Iterable[int]) -> pa.Array:
    return pa.array(np.cumsum([0, *lengths]), pa.int32())


def set_columns(table: pa.Table, **values: Sequence[object]) -> pa.Table:
    """Replace columns of a table of `SCHEMA`."""
    for name, column in values.items():
        array = pa.array(column, SCHEMA.field(name).type)
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), array)
    return table
