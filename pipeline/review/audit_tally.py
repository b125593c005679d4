"""The model's accuracy by the audit, kept up to date while people answer."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pipeline.review.held_out import find_training_photos
from pipeline.review.reviewed import ReviewedPhotos
from pipeline.review.rows import ReviewRows
from pipeline.reviews.audit import estimate_accuracy


class AuditTally:
    """The answered photos of the audit, without those used for the model's training."""

    def __init__(
        self, rows: ReviewRows, reviewed: ReviewedPhotos, rate: float, label_of: Callable[[int], str | None]
    ) -> None:
        """Count the answers so far.

        Args:
            rows: the photos.
            reviewed: the answers.
            rate: share of the photos in the audit.
            label_of: the model's label of a row.
        """
        self._rows = rows
        self._reviewed = reviewed
        self._label_of = label_of
        self._is_fair = (rows.audit_positions < rate) & ~find_training_photos(rows)
        self._answers: dict[int, bool | None] = {}
        self.update(np.flatnonzero(self._is_fair & (reviewed.states > 0)).tolist())

    def update(self, rows: Iterable[int]) -> None:
        """Take in new answers about some rows."""
        for row in rows:
            if not self._is_fair[row]:
                continue
            truth = self._reviewed.truths.get(self._rows.value("content_hash", row))
            if truth is None or truth.state not in ("reviewed", "unsure"):
                self._answers.pop(row, None)
            else:
                self._answers[row] = None if truth.state == "unsure" else truth.label == self._label_of(row)

    def as_json(self) -> dict[str, Any] | None:
        """Return the estimate for JSON, None before the first answer."""
        return estimate_accuracy(self._answers.values()).as_json() if self._answers else None
