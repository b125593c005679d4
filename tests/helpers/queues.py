"""Results folders and reviews for the queue, written without a model."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.review.config import ReviewConfig
from pipeline.review.queue import Queue, build_queue
from pipeline.review.rows import read_rows
from pipeline.reviews.classes import read_classes
from pipeline.reviews.record import REVIEW_SCHEMA, ReviewRecord, new_record_id
from pipeline.reviews.truth import Truth, resolve_truths
from tests.helpers.tables import make_row, write_run

START = datetime(2026, 1, 1, tzinfo=UTC)


def hash_of(path: str) -> str:
    """Return a content hash for a photo with this path."""
    return hashlib.blake2b(path.encode(), digest_size=16).hexdigest()


def make_photo(path: str, scores: dict[str, float], **changes):
    """Return the row of a photo with these scores by label, in any order; `changes` replace columns."""
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    fields = {
        "content_hash": hash_of(path),
        "label": ranked[0][0],
        "score": ranked[0][1],
        "top_labels": [label for label, _ in ranked],
        "top_scores": np.array([score for _, score in ranked], np.float32),
        "more_maps": None,
    }
    return make_row(path, **fields | changes)


def make_answer(path: str, label: str | None, *, minutes: float = 0, **changes) -> ReviewRecord:
    """Return a person's record about a photo, some minutes after `START`; no label: unsure."""
    fields = {
        "id": new_record_id(),
        "at": START + timedelta(minutes=minutes),
        "who": "Ann",
        "session": "s",
        "path": path,
        "content_hash": hash_of(path),
        "width": 30,
        "height": 20,
        "verdict": "unsure" if label is None else "confirmed",
        "label": label,
        "label_before": label,
    }
    return ReviewRecord(**fields | changes)


def resolve(records: Iterable[ReviewRecord]) -> dict[str, Truth]:
    """Resolve records, as if read from their sessions."""
    rows = [{**vars(record), "boxes": [vars(box) for box in record.boxes]} for record in records]
    return resolve_truths(pa.Table.from_pylist(sorted(rows, key=lambda row: row["at"]), REVIEW_SCHEMA))


def queue_of(out: Path, rows=(), records: Iterable[ReviewRecord] = (), **settings) -> Queue:
    """Write rows into a results folder, as one more run if there are some, and build the queue of Bob.

    Settings are those of the review; without `audit`, no photo is in the audit.
    """
    if rows:
        write_run(out, out.parent / "photos", list(rows))
    config = ReviewConfig(**{"out": out, "who": "Bob", "audit": 0} | settings)
    return build_queue(read_rows(out), resolve(records), read_classes(out), config)


def paths_of(queue: Queue, out: Path) -> list[str]:
    """Return the paths of a queue, in its order."""
    return read_rows(out).table["path"].take(pa.array(queue.rows)).to_pylist()


def reasons_of(queue: Queue) -> list[str]:
    """Return the reasons of a queue, in its order."""
    return [queue.reason_of(row) for row in queue.rows.tolist()]
