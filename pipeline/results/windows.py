"""The second table of a results folder: every window of large photos, beside the row of each photo."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.records import Prediction, Scoring, best_scores
from pipeline.results.names import PART_NAME, TILES
from pipeline.results.read import read_results
from pipeline.storage.files import list_names, open_parquet
from pipeline.storage.location import Location, parse_location

if TYPE_CHECKING:  # half a second to import, and a run needs none of it
    import pandas as pd

_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_hash", pa.string()),
        pa.field("run_id", pa.string(), nullable=False),
        *(pa.field(side, pa.int32()) for side in ("x0", "y0", "x1", "y1")),
        pa.field("label", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("defect_score", pa.float32()),
        pa.field("logits", pa.list_(pa.float32())),
    ]
)

Window = dict[str, Any]  # one row


def describe_windows(prediction: Prediction, labels: Sequence[str], scoring: Scoring, run_id: str) -> list[Window]:
    """Return the rows of the windows of a photo, in their order.

    Args:
        prediction: of a photo in windows.
        labels: class names by id.
        scoring: from logits to scores.
        run_id: of the run.
    """
    sample, tiled = prediction.sample, prediction.tiled
    assert sample.tiles is not None
    assert tiled is not None
    rows = []
    for number, (box, logits) in enumerate(zip(sample.tiles.boxes, tiled.logits, strict=True)):
        top, scores = best_scores(logits, scoring)
        rows.append(
            {
                "path": sample.ref.path,
                "content_hash": sample.content_hash,
                "run_id": run_id,
                **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
                "label": labels[top[0]],
                "score": float(scores[0]),
                "defect_score": None if tiled.defect_scores is None else float(tiled.defect_scores[number]),
                "logits": logits,
            }
        )
    return rows


def encode_windows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode rows as Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), _SCHEMA), sink, compression="zstd", write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_tiles(out: str | Location) -> "pd.DataFrame":
    """Read the windows of the photos in a results folder, those behind the current row of each photo.

    Args:
        out: the results folder of runs with `--keep-tiles`, or its URL.

    Returns:
        One row per window, sorted by path, then from top to bottom: path, content_hash, run_id, its corners x0, y0, x1,
        y1 in upright pixels, label, score, defect_score (probability of any defect; missing if nothing tells defects
        from good), and logits.

    Raises:
        ConfigError: no run has kept its windows.
    """
    out = parse_location(out)
    parts = [out / TILES / name for name in list_names(out / TILES) if PART_NAME.fullmatch(name)]
    current = read_results(out, ["path", "run_id"]).astype(str)
    if not parts:
        raise ConfigError(f"{out} has no {TILES}/: run it with --tile SIZE --keep-tiles")
    table = pa.concat_tables([pq.read_table(open_parquet(part)) for part in parts])
    frame: pd.DataFrame = table.to_pandas().merge(current, on=["path", "run_id"])
    frame = frame.sort_values(["path", "y0", "x0"], ignore_index=True)
    ordered: pd.DataFrame = frame.loc[:, _SCHEMA.names]
    return ordered
