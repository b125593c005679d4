"""The first answer to the page: the queue, the classes, and the first rows."""

from typing import Any

from pipeline.labelled.good_labels import GOOD_LABELS
from pipeline.review.config import Order
from pipeline.review.desk import ReviewDesk

_FIRST_ROWS = 64
_ORDER_TEXTS: dict[Order, str] = {
    "mixed": "least certain first, every tenth for the audit",
    "margin": "least certain first",
    "score": "lowest score first",
    "suspects": "least probable labels first",
    "contradicted": "where this model contradicts a review",
    "changed": "where the label differs from the previous model's",
    "methods": "where two maps agree least",
    "drift": "farthest from the usual first",
    "outdated": "reviewed before a class was added",
    "disputed": "where people disagree",
    "unsure": "where people were unsure",
    "random": "in random order",
    "audit": "for the audit: a fair sample, the model's answer hidden",
}


def start_answer(desk: ReviewDesk) -> dict[str, Any]:
    """Describe the review."""
    queue = desk.queue.rows.tolist()
    position, _ = desk.changes_since(0)
    return {
        "session": desk.session,
        "who": desk.config.person,
        "name": desk.config.out.name,
        "order": desk.config.order,
        "order_text": _ORDER_TEXTS[desk.config.order],
        "classes": [vars(each) for each in desk.classes],
        "good_labels": GOOD_LABELS,
        "queue": queue,
        "audit": desk.queue.is_audit.astype(int).tolist(),
        "rows": [desk.describe(row) for row in queue[:_FIRST_ROWS]],
        "boxes": desk.config.boxes,
        "warnings": list(desk.warnings),
        "done": desk.done_before,
        "undo": desk.undo_stack(),
        "limit": desk.config.limit,
        "changes": position,
        "counts": desk.counts(),
    }
