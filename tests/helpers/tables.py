"""Rows and results folders written without a model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.results.folder import ResultsFolder
from pipeline.results.run_record import RunRecord, RunSummary
from pipeline.results.schema import Row, to_table

# Changes for `make_row`: the row of an unreadable photo.
FAILED = {"status": "failed", "error": "truncated", "label": None, "label_id": None, "score": None, "attention": None}


def make_row(path: str, *, grid: tuple[int, int] = (2, 3), run_id: str = "20260101T000000Z", **changes) -> Row:
    """Return the row of a photo without a problem; `changes` replace columns."""
    row = Row(
        path=path,
        path_bytes=None,
        content_hash="00" * 16,
        file_bytes=10,
        mtime=1_700_000_000_123_456_789,
        status="ok",
        model="bundled",
        method="rollout",
        fingerprint="f1",
        run_id=run_id,
        processed_at=1_700_000_000_000_000,
        width=30,
        height=20,
        label="short",
        label_id=1,
        score=0.75,
        top_labels=["short", "ok"],
        top_scores=np.array([0.75, 0.25], np.float32),
        logits=np.array([0.1, 1.2], np.float32),
        attention=np.arange(grid[0] * grid[1], dtype=np.float32),
        more_maps=[("article", np.array([1.5, 2.5], np.float32))],
        grid_h=grid[0],
        grid_w=grid[1],
        map_box=[0.0, 1.0, 30.0, 19.0],
        overlay=f"overlays/{path}.png",
    )
    return replace(row, **changes)


def make_record(source: Path, *, run_id: str = "20260101T000000Z", **circumstances) -> RunRecord:
    """Return the record of a run over `source` with one photo; `circumstances` are further fields."""
    summary = RunSummary(
        run_id, str(source), "out", found=1, done_before=0, processed=1, ok=1, failed=0, unreadable_folders=0,
        interrupted=False, seconds=1.0, images_per_second=1.0,
    )  # fmt: skip
    return RunRecord(summary, finished_at="2026-01-01T00:00:00+00:00", **circumstances)


def write_run(out: Path, source: Path, *parts: list[Row], rebind: bool = False) -> str:
    """Write one run into the results folder `out`.

    Args:
        out: results folder.
        source: input folder; the results folder is bound to it.
        *parts: rows of each part; their run ids are replaced by the run's.
        rebind: bind the results folder to another input folder.

    Returns:
        The run id.
    """
    with ResultsFolder(out, source, rebind=rebind) as results:
        for rows in parts:
            results.write_part(to_table([replace(row, run_id=results.run_id) for row in rows]))
        return results.run_id


def flip_a_bit(part: Path, column: str) -> None:
    """Damage a part in the last page of a column."""
    metadata = pq.read_metadata(part).row_group(0)
    chunk = next(c for c in map(metadata.column, range(metadata.num_columns)) if c.path_in_schema == column)
    data = bytearray(part.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1
    part.write_bytes(data)
