"""The order `changed`: photos with another label than before."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decision import without_decision
from pipeline.results.names import part_files
from pipeline.results.parts import concatenate_parts, newest_rows, read_part
from pipeline.review.ranking import QueueInput, Ranking
from pipeline.review.rows import ReviewRows

_NOTHING = (
    "no label differs from that of an earlier model or earlier settings (compacting the table drops its earlier rows)"
)


def rank_changed(queue: QueueInput) -> Ranking:
    """Rank the photos whose label differs from that under the previous fingerprint, the surest of both first."""
    chosen, left_out = queue.choose_doubtful()
    before = find_earlier_answers(queue.rows)
    rows = before["row"].to_numpy()
    labels = np.array([queue.current_name(label) for label in before["label"].to_pylist()], object)
    names = np.array([queue.current_name(name) for name in queue.rows.label_names], object)
    is_changed = chosen[rows] & (names[queue.rows.label_codes[rows]] != labels)
    rows, labels, scores = rows[is_changed], labels[is_changed], before["score"].to_numpy()[is_changed]
    order = np.argsort(-np.minimum(scores, queue.rows.scores[rows]), kind="stable")
    label_before = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    return Ranking(
        rows[order].astype(np.int64),
        lambda row: f"was {label_before[row]}, now {queue.label(row)}",
        _NOTHING,
        left_out if len(rows) else {},
    )


def find_earlier_answers(rows: ReviewRows) -> pa.Table:
    """Find the answer of the model, or of the settings, before the present ones.

    Returns:
        row, label and score: one row for each photo with an earlier answer about the same bytes.
    """
    table = _read_all_rows(rows.out, ["path", "content_hash", "label", "score", "fingerprint", "run_id"])
    place = pc.index_in(table["path"], rows.table["path"].combine_chunks())
    table = table.append_column("row", place).filter(pc.and_(place.is_valid(), table["label"].is_valid()))
    now = rows.table.select(["content_hash", "fingerprint"]).take(table["row"])
    is_other = pc.and_(
        pc.equal(table["content_hash"], now["content_hash"]),
        pc.not_equal(_drop_decisions(table["fingerprint"]), _drop_decisions(now["fingerprint"])),
    )
    table = table.filter(is_other)
    earlier = table.take(newest_rows(table))
    return pa.table(
        {
            "row": earlier["row"].cast(pa.int64()),
            "label": earlier["label"].cast(pa.string()),
            "score": earlier["score"].cast(pa.float64()),
        }
    )


def _drop_decisions(fingerprints: pa.ChunkedArray) -> pa.Array:
    """Return the fingerprints of the numbers alone: another decision changes no label."""
    texts = fingerprints.cast(pa.string())
    plain = {text: without_decision(text) for text in pc.unique(texts).to_pylist()}
    return pa.array([plain[text] for text in texts.to_pylist()], pa.string())


def _read_all_rows(out: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of every row, also of replaced ones."""
    while True:
        try:
            return concatenate_parts([read_part(part, columns) for part in part_files(out)], columns)
        except FileNotFoundError:
            continue  # compacted meanwhile
