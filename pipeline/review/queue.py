"""The review queue: photos in an order, and the reason for each.

The orders by doubt leave out the photos of the audit. With its most doubtful photos answered first, an unfinished audit
would say too little of the model. The orders `audit`, `mixed` and `random` show them, blind and in an order of chance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from pipeline.review.config import Order, ReviewConfig
from pipeline.review.ranking import QueueInput, Ranking
from pipeline.review.rows import Flags, Integers, ReviewRows
from pipeline.reviews.classes import ReviewClass
from pipeline.reviews.truth import Truth

# The function of each order; those of rare orders read much, and are imported when asked for.
_RANKINGS: Mapping[Order, str] = {
    "mixed": "pipeline.review.doubt_orders:rank_mixed",
    "margin": "pipeline.review.doubt_orders:rank_by_margin",
    "score": "pipeline.review.doubt_orders:rank_by_score",
    "suspects": "pipeline.review.suspects:rank_suspects",
    "contradicted": "pipeline.review.answer_orders:rank_contradicted",
    "changed": "pipeline.review.history_orders:rank_changed",
    "methods": "pipeline.review.map_orders:rank_by_overlap",
    "drift": "pipeline.review.map_orders:rank_by_drift",
    "outdated": "pipeline.review.answer_orders:rank_outdated",
    "disputed": "pipeline.review.answer_orders:rank_disputed",
    "unsure": "pipeline.review.answer_orders:rank_unsure",
    "random": "pipeline.review.doubt_orders:rank_at_random",
    "audit": "pipeline.review.doubt_orders:rank_audit",
}


@dataclass(frozen=True)
class Queue:
    """Photos to review, the first one first.

    Attributes:
        rows: numbers of `ReviewRows`.
        is_audit: one for each place: a photo of the audit, to be judged without the model's answer.
        warnings: for the reviewer, one line each: photos left out, or the reason for an empty queue.
        explain: a row's reason by its number.
    """

    rows: Integers
    is_audit: Flags
    warnings: tuple[str, ...]
    explain: Callable[[int], str]

    def reason_of(self, row: int) -> str:
        """Return why a photo is shown, in a short sentence."""
        return self.explain(row)


def build_queue(
    rows: ReviewRows, truths: Mapping[str, Truth], classes: Sequence[ReviewClass], config: ReviewConfig
) -> Queue:
    """Order the photos for a reviewer.

    Args:
        rows: of the table.
        truths: by content hash, from `resolve_truths`.
        classes: of the results folder.
        config: the order, the reviewer, the share of the audit, the limit.

    Raises:
        DataError: the labels or the splits can't be read.
        StoreError: a part of the table is damaged.
    """
    queue = QueueInput(rows, truths, classes, config)
    ranking = _find_ranking(config.order)(queue)
    is_blind = queue.is_audit & queue.is_open
    if config.order in ("audit", "mixed"):
        is_blind |= queue.is_audit_open
    order = ranking.rows[: config.limit]

    def explain(row: int) -> str:
        return "audit" if is_blind[row] else ranking.explain(row)

    return Queue(order, is_blind[order], tuple(_list_warnings(queue, ranking)), explain)


def _find_ranking(order: Order) -> Callable[[QueueInput], Ranking]:
    module, _, name = _RANKINGS[order].partition(":")
    function: Callable[[QueueInput], Ranking] = getattr(import_module(module), name)
    return function


def _list_warnings(queue: QueueInput, ranking: Ranking) -> list[str]:
    reason = ranking.nothing if queue.rows.selected.any() else "no photo meets --where"
    nothing = [] if len(ranking.rows) else [f"nothing to show: {reason}"]
    counts = ((count, reason) for reason, count in ranking.left_out.items() if count)
    return nothing + [
        f"{count:,} {'photo is' if count == 1 else 'photos are'} left out: {reason}" for count, reason in counts
    ]
