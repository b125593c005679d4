"""The model's accuracy by the audit, kept up to date while people answer."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.review.held_out import find_training_photos
from pipeline.review.reviewed import ReviewedPhotos
from pipeline.review.rows import ReviewRows
from pipeline.reviews.audit import estimate_accuracy
from pipeline.reviews.summary import is_in_audit


class AuditTally:
    """The answered photos of the audit, counted by the rule of `pipeline.reviews.summary`."""

    def __init__(self, rows: ReviewRows, reviewed: ReviewedPhotos) -> None:
        """Count the answers so far."""
        self._rows = rows
        self._reviewed = reviewed
        hashes = rows.table["content_hash"].to_pylist()
        self._trained_on = {hashes[row] for row in np.flatnonzero(find_training_photos(rows))}
        self._answers: dict[str, bool | None] = {}  # by content: copies count once
        self.update(row for row, content_hash in enumerate(hashes) if content_hash in reviewed.truths)

    def update(self, rows: Iterable[int]) -> None:
        """Take in new answers about some rows."""
        for row in rows:
            content_hash = self._rows.value("content_hash", row)
            truth = self._reviewed.truths.get(content_hash)
            label = self._rows.value("label", row)
            if truth is not None and is_in_audit(truth, label) and content_hash not in self._trained_on:
                self._answers[content_hash] = truth.agrees_with(label)
            else:
                self._answers.pop(content_hash, None)

    def as_json(self) -> dict[str, Any] | None:
        """Return the estimate for JSON, None before the first answer."""
        return estimate_accuracy(self._answers.values()).as_json() if self._answers else None
