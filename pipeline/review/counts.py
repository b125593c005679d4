"""The numbers beside the queue: verdicts, pace, what is left, and the model's accuracy by the audit."""

from collections.abc import Collection
from statistics import median
from typing import Any

import numpy as np

from pipeline.review.audit_tally import AuditTally
from pipeline.review.reviewed import DISPUTED, ReviewedPhotos
from pipeline.review.rows import Integers
from pipeline.reviews.record import VERDICTS, ReviewRecord


def count_reviews(
    own: Collection[ReviewRecord], reviewed: ReviewedPhotos, queue: Integers, tally: AuditTally
) -> dict[str, Any]:
    """Count the decisions.

    Args:
        own: the records of this session, for verdicts and pace.
        reviewed: everybody's decisions.
        queue: the rows to review.
        tally: answers of the audit.
    """
    verdicts = [record.verdict for record in own]
    seconds = [record.seconds for record in own if record.seconds and record.verdict != "withdrawn"]
    return {
        "by_verdict": {verdict: verdicts.count(verdict) for verdict in VERDICTS},
        "reviewed": int(np.count_nonzero(reviewed.states)),
        "disputed": int(np.count_nonzero(reviewed.states == DISPUTED)),
        "seconds_median": round(median(seconds), 2) if seconds else None,
        "estimate": tally.as_json(),
        "left": int(np.count_nonzero(~reviewed.is_decided[queue])),
    }
