"""Decisions at a desk in this process."""

import os

from pipeline.review.submission import parse_submission

PHOTOS = 12  # of the results folder of tests/review


def decide(desk, row, label=None, verdict="confirmed", shown=None, **changes):
    """Decide about a row as the page does, and name it by the number `shown`; return the answer."""
    content = {
        "row": shown,
        "id": os.urandom(16).hex(),
        "content_hash": desk.rows.value("content_hash", row),
        "verdict": verdict,
        "label": label,
    }
    return desk.decide(parse_submission(content | changes))
