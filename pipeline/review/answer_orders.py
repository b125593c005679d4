"""The orders of second thoughts: photos with answers of people in need of another look."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from pipeline.review.ranking import QueueInput, Ranking, sort_rows
from pipeline.review.rows import Integers
from pipeline.reviews.classes import without_retired
from pipeline.reviews.summary import is_contradicted
from pipeline.reviews.truth import Truth


def rank_disputed(queue: QueueInput) -> Ranking:
    """Rank the photos with different answers, the oldest dispute first."""
    rows = _oldest_first(queue, queue.rows_with(lambda truth: truth.state == "disputed"))
    return Ranking(rows, lambda row: _explain_dispute(queue.truth_of_row[row]), "no photo is disputed")


def rank_unsure(queue: QueueInput) -> Ranking:
    """Rank the photos whose reviewers are unsure, the oldest answer first."""
    rows = _oldest_first(queue, queue.rows_with(lambda truth: truth.state == "unsure"))
    return Ranking(
        rows, lambda row: f"{' and '.join(queue.truth_of_row[row].who)}: unsure", "nobody is unsure of any photo"
    )


def rank_contradicted(queue: QueueInput) -> Ranking:
    """Rank the photos where the model of the time agreed with the reviewer and today's does not, the surest first."""
    truths = queue.truth_of_row.items()
    found = [row for row, truth in truths if is_contradicted(queue.label(row), truth)]
    rows = sort_rows(np.array(found, np.int64), -queue.rows.scores)
    return Ranking(
        rows,
        lambda row: f"the earlier model agreed with the reviewer, this one says {queue.label(row)}",
        "the model contradicts no review that an earlier one agreed with",
    )


def rank_outdated(queue: QueueInput) -> Ranking:
    """Rank the photos reviewed before a class existed: first those the model takes for it, then the oldest review."""
    classes = [(_parse_time(each.since), each.name) for each in without_retired(queue.classes)]

    def list_newer_classes(row: int) -> list[str]:
        return [name for since, name in classes if since > queue.truth_of_row[row].at]

    newest = max((since for since, _ in classes), default=0)
    rows = _oldest_first(queue, queue.rows_with(lambda truth: truth.state != "rejected" and truth.at < newest))
    is_taken = np.array([queue.label(row) in list_newer_classes(row) for row in rows.tolist()], bool)
    return Ranking(
        np.concatenate([rows[is_taken], rows[~is_taken]]),
        lambda row: f"reviewed before {_name_classes(list_newer_classes(row))} existed",
        "no photo was reviewed before a class existed",
    )


def _oldest_first(queue: QueueInput, rows: Integers) -> Integers:
    at = np.array([queue.truth_of_row[row].at for row in rows.tolist()], np.int64)
    return rows[np.argsort(at, kind="stable")]


def _explain_dispute(truth: Truth) -> str:
    if len(set(truth.answers)) == 1:
        return f"{len(truth.answers)} reviewers agree on {truth.answers[0]}, but not on its boxes"
    return f"{len(truth.answers)} reviewers disagree: {', '.join(truth.answers)}"


def _name_classes(names: Sequence[str]) -> str:
    return f"the class {names[0]}" if len(names) == 1 else f"the classes {', '.join(names)}"


def _parse_time(since: str) -> int:
    """Convert ISO 8601 to microseconds since 1970 UTC; 0 for a class without a time, as old as can be."""
    return int(datetime.fromisoformat(since).timestamp() * 1e6) if since else 0
