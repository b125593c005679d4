"""Photos beside the work: a grid to confirm at once, and examples of a class."""

from typing import Any

import numpy as np

from pipeline.review.desk import ReviewDesk
from pipeline.review.refusals import BadRequestError
from pipeline.review.rows import Integers

_GRID = 24
_EXAMPLES, _COUNTER_EXAMPLES, _BORDERLINE = 4, 3, 3


def grid_page(desk: ReviewDesk, label: str | None, after: int | None) -> dict[str, Any]:
    """Return the next photos with the same label by the model, not reviewed, most certain first.

    Photos of the audit and of test groups are left out: chosen by certainty, they would be no fair sample.

    Args:
        desk: the review.
        label: by the model; None: the one with most photos left.
        after: the last row of the previous page.

    Raises:
        BadRequestError: no photo has this label.
    """
    rows = desk.rows
    is_left = (desk.reviewed.states == 0) & rows.selected & ~desk.is_held_out
    if label is None:
        counts = np.bincount(rows.label_codes[is_left], minlength=len(rows.label_names))
        label = rows.label_names[int(counts.argmax())]
    if label not in rows.label_names:
        raise BadRequestError(f"label: no photo is labelled {label!r}")
    found = np.flatnonzero(rows.label_codes == rows.label_names.index(label))
    found = found[np.argsort(-rows.scores[found], kind="stable")]
    if after is not None:
        found = found[np.cumsum(found == after) > 0] if after in found else found
        found = found[found != after]
    found = found[is_left[found]]
    return {
        "label": label,
        "rows": [desk.describe(int(row)) for row in found[:_GRID]],
        "left": max(0, len(found) - _GRID),
    }


def guide_examples(desk: ReviewDesk, name: str) -> dict[str, Any]:
    """Return a class's guide, with photos reviewed as it, corrected away from it, and hardly it.

    Raises:
        BadRequestError: there is no such class.
    """
    guide = next((each.guide for each in desk.classes if each.name == name), None)
    if guide is None:
        raise BadRequestError(f"class: no such class: {name!r}")
    truths = sorted(desk.reviewed.truths.values(), key=lambda truth: -truth.at)
    confirmed = [row for truth in truths if truth.label == name for row in _first_row(desk, truth.content_hash)]
    corrected = [
        row
        for truth in truths
        if truth.label not in (None, name) and truth.label_before == name
        for row in _first_row(desk, truth.content_hash)
    ]
    borderline = sorted(confirmed, key=lambda row: desk.rows.margins[row])
    return {
        "guide": guide,
        "examples": _describe(desk, confirmed[:_EXAMPLES]),
        "counter": _describe(desk, corrected[:_COUNTER_EXAMPLES]),
        "borderline": _describe(desk, [row for row in borderline if row not in confirmed[:_EXAMPLES]][:_BORDERLINE]),
    }


def _first_row(desk: ReviewDesk, content_hash: str) -> Integers:
    return desk.rows.find_hash(content_hash)[:1]


def _describe(desk: ReviewDesk, rows: list[int]) -> list[dict[str, Any]]:
    return [desk.describe(int(row)) for row in rows]
