"""Many records of a photo -> what its reviewers agree on, or that they don't.

The truth of a photo is the set of its records replaced by no other one, a multi-value register: two people's answers
stand side by side until somebody replaces both. A record replaces the ids it names, and all earlier records of the
same person. A withdrawn record counts as never written, so the records it had replaced stand again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.reviews.record import ReviewBox

TruthState = Literal["reviewed", "unsure", "rejected", "disputed"]

_SAME_BOX_OVERLAP = 0.5  # intersection over union

_KEYS = ["id", "content_hash", "who", "verdict", "replaces"]
_USED = [*_KEYS, "at", "path", "label", "boxes", "boxes_complete", "fingerprint", "label_before", "note"]


@dataclass(frozen=True)
class Truth:
    """What people say about one photo.

    Attributes:
        content_hash: of the photo.
        state: reviewed (with a label), unsure, rejected (unusable), or disputed: different answers stand.
        label: the agreed label; None unless reviewed.
        boxes: of the defects.
        boxes_complete: every defect has its box.
        verdict: of the newest standing record.
        who: the people whose records stand.
        records: ids of the standing records, oldest first.
        at: time of the newest one, microseconds since 1970 UTC.
        path: of the photo, in the newest one.
        answers: label of each standing record, or its verdict without one.
        fingerprint: of the row judged by the newest one.
        label_before: the model's answer at that time.
        note: of the newest one, or None.
    """

    content_hash: str
    state: TruthState
    label: str | None
    boxes: tuple[ReviewBox, ...]
    boxes_complete: bool
    verdict: str
    who: tuple[str, ...]
    records: tuple[str, ...]
    at: int
    path: str
    answers: tuple[str, ...]
    fingerprint: str
    label_before: str | None
    note: str | None = None


def resolve_truths(table: pa.Table) -> dict[str, Truth]:
    """Resolve the truth of every reviewed photo, by content hash.

    Args:
        table: all records, ordered by time, from `read_review_table`.
    """
    standing = find_standing(table)
    rows = np.array([record_id in standing for record_id in table["id"].to_pylist()], bool)
    by_photo: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in _list_records(table.filter(pa.array(rows))):
        by_photo[record["content_hash"]].append(record)
    return {content_hash: _resolve_photo(content_hash, records) for content_hash, records in by_photo.items()}


def find_standing(table: pa.Table) -> set[str]:
    """Return the ids of the records neither replaced nor taken back.

    Args:
        table: all records, ordered by time, from `read_review_table`.
    """
    columns = (table[name].to_pylist() for name in _KEYS)
    by_photo: dict[str, list[tuple[str, str, str, Sequence[str]]]] = defaultdict(list)
    for record_id, content_hash, who, verdict, replaces in zip(*columns, strict=True):
        by_photo[content_hash].append((record_id, who, verdict, replaces or ()))
    return {record_id for records in by_photo.values() for record_id in _find_standing_of_photo(records)}


def _find_standing_of_photo(records: Sequence[tuple[str, str, str, Sequence[str]]]) -> Iterable[str]:
    """Return the standing ids among the records (id, who, verdict, replaces) of one photo, oldest first."""
    if len(records) == 1 and records[0][2] != "withdrawn":
        return [records[0][0]]
    withdrawn: set[str] = set()
    for record_id, _, verdict, replaces in reversed(records):  # a withdrawal may itself be taken back by a later one
        if verdict == "withdrawn" and record_id not in withdrawn:
            withdrawn.update(replaces)
    valid = [record for record in records if record[0] not in withdrawn and record[2] != "withdrawn"]
    replaced = {other for _, _, _, replaces in valid for other in replaces}
    newest_of_person = {who: record_id for record_id, who, _, _ in valid}
    return [
        record_id for record_id, who, _, _ in valid if record_id not in replaced and newest_of_person[who] == record_id
    ]


def _list_records(table: pa.Table) -> Iterable[dict[str, Any]]:
    """List the records, with times in microseconds since 1970; columns one by one take a third of the time."""
    table = table.set_column(table.column_names.index("at"), "at", table["at"].cast(pa.int64()))
    columns = [table[name].to_pylist() for name in _USED]
    return (dict(zip(_USED, values, strict=True)) for values in zip(*columns, strict=True))


def _resolve_photo(content_hash: str, records: Sequence[Mapping[str, Any]]) -> Truth:
    """Resolve the standing records of one photo, oldest first."""
    newest = max(records, key=lambda record: (record["boxes_complete"], record["at"]))
    answers = tuple(record["label"] or record["verdict"] for record in records)
    agreed = len(records) == 1 or (len(set(answers)) == 1 and _agree_on_boxes(records))
    state: TruthState = "reviewed" if newest["label"] is not None else newest["verdict"]
    return Truth(
        content_hash=content_hash,
        state=state if agreed else "disputed",
        label=newest["label"] if agreed else None,
        boxes=_parse_boxes(newest) if agreed else (),
        boxes_complete=bool(newest["boxes_complete"]) and agreed,
        verdict=newest["verdict"],
        who=tuple(dict.fromkeys(record["who"] for record in records)),
        records=tuple(record["id"] for record in records),
        at=records[-1]["at"],
        path=records[-1]["path"],
        answers=answers,
        fingerprint=records[-1]["fingerprint"] or "",
        label_before=records[-1]["label_before"],
        note=records[-1]["note"],
    )


def _agree_on_boxes(records: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether all complete sets of boxes are the same, box by box; incomplete ones contradict nobody."""
    first, *others = [_parse_boxes(record) for record in records if record["boxes_complete"]] or [()]
    return all(boxes_match(first, other) for other in others)


def boxes_match(boxes: Sequence[ReviewBox], others: Sequence[ReviewBox]) -> bool:
    """Tell whether two sets of boxes pair up one to one: same label, intersection over union of 0.5 or more."""
    if len(boxes) != len(others):
        return False
    if not boxes:
        return True
    from scipy.optimize import linear_sum_assignment  # half a second to import, for rare cases

    overlaps = np.array([[_overlap(box, other) for other in others] for box in boxes])  # (n, n)
    rows, columns = linear_sum_assignment(overlaps >= _SAME_BOX_OVERLAP, maximize=True)
    return bool((overlaps[rows, columns] >= _SAME_BOX_OVERLAP).all())


def _overlap(box: ReviewBox, other: ReviewBox) -> float:
    """Return the intersection over union, 0 for boxes with different labels."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    if box.label != other.label or width <= 0 or height <= 0:
        return 0.0
    areas = ((each.x1 - each.x0) * (each.y1 - each.y0) for each in (box, other))
    return width * height / (sum(areas) - width * height)


def _parse_boxes(record: Mapping[str, Any]) -> tuple[ReviewBox, ...]:
    return tuple(ReviewBox(**box) for box in record["boxes"] or ())
