"""The order of the photos for review."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.review.config import ReviewConfig
from pipeline.review.rows import Flags, Integers, ReviewRows
from pipeline.reviews.truth import Truth


@dataclass(frozen=True)
class Queue:
    """Photos to review, the first one first.

    Attributes:
        rows: numbers of `ReviewRows`.
        is_audit: one for each place: a photo of the audit.
        reasons: by row, in words, where the order knows one of its own.
        warnings: for the reviewer, one line each.
    """

    rows: Integers
    is_audit: Flags
    reasons: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def reason_of(self, row: int) -> str:
        """Return why the photo is shown, "" without a reason of its own."""
        return self.reasons.get(row, "")


def build_queue(rows: ReviewRows, truths: Mapping[str, Truth], config: ReviewConfig) -> Queue:
    """Order the photos not reviewed yet by their margin, least first."""
    is_open = np.array([value.decode() not in truths for value in rows.content_hashes]) & rows.selected
    order = np.argsort(rows.margins, kind="stable")
    order = order[is_open[order]][: config.limit]
    return Queue(order.astype(np.int64), rows.audit_positions[order] < config.audit)
