"""Many records of a photo -> what its reviewers agree on, or that they don't.

The truth of a photo is the set of its records replaced by no other one, a multi-value register: two people's answers
stand side by side until somebody replaces both. A record replaces the ids it names, and all earlier records of the
same person. A withdrawn record counts as never written, so the records it had replaced stand again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.reviews.record import ReviewBox

TruthState = Literal["reviewed", "unsure", "rejected", "disputed"]

AUDIT_ORDERS = ("audit", "mixed", "random")  # orders that show photos of the audit, blind and by chance
_SAME_BOX_OVERLAP = 0.5  # intersection over union

_USED = (
    "id", "at", "who", "path", "content_hash", "verdict", "label", "label_before", "boxes", "boxes_complete",
    "fingerprint", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What people say about one photo, with the current names of classes.

    Attributes:
        content_hash: of the photo.
        state: reviewed (with a label), unsure, rejected (unusable), or disputed: different answers stand.
        label: the agreed label; None unless reviewed.
        boxes: of the defects.
        boxes_complete: every defect has its box.
        verdict: of the newest standing record.
        who: the people whose records stand, one record each, oldest first.
        records: ids of these records.
        at: time of the newest one, microseconds since 1970 UTC.
        path: of the photo, in the newest one.
        answers: label of each standing record, or its verdict without one.
        fingerprint: of the row judged by the newest one.
        label_before: the model's answer at that time.
        audited: answered in the audit, blind; the truth may come from a later record.
        also_called: earlier names of the label.
        note: of the newest record, or None.
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
    audited: bool = False
    also_called: tuple[str, ...] = ()
    note: str | None = None

    def agrees_with(self, label: str | None) -> bool | None:
        """Compare a model's label, under any name of its class, with the agreed one; None without one of both."""
        if self.label is None or label is None:
            return None
        return label == self.label or label in self.also_called


class _Claim(NamedTuple):
    """The fields of a record with a say in which records stand."""

    id: str
    content_hash: str
    who: str
    verdict: str
    replaces: Sequence[str]
    blind: bool
    order: str


def resolve_truths(table: pa.Table, renamed: Mapping[str, str] = MappingProxyType({})) -> dict[str, Truth]:
    """Resolve the truth of every reviewed photo, by content hash.

    Args:
        table: all records, ordered by time, from `read_review_table`.
        renamed: the current name of a class by each earlier one.
    """
    valid = _list_valid(table)
    standing = _select_standing(valid)
    audited = {claim.content_hash for claim in valid if claim.blind and claim.order in AUDIT_ORDERS}
    by_photo: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in _list_records(table, standing, renamed):
        by_photo[record["content_hash"]].append(record)
    return {
        content_hash: _resolve_photo(records, renamed, audited=content_hash in audited)
        for content_hash, records in by_photo.items()
    }


def find_standing(table: pa.Table) -> set[str]:
    """Return the ids of the records neither replaced nor taken back.

    Args:
        table: all records, ordered by time, from `read_review_table`.
    """
    return _select_standing(_list_valid(table))


def _list_valid(table: pa.Table) -> list[_Claim]:
    """List the records neither withdrawn nor withdrawals, oldest first."""
    columns = (table[name].to_pylist() for name in _Claim._fields)
    claims = [_Claim(*values) for values in zip(*columns, strict=True)]
    withdrawn: set[str] = set()
    for claim in reversed(claims):  # a withdrawal may itself be taken back by a later one
        if claim.verdict == "withdrawn" and claim.id not in withdrawn:
            withdrawn.update(claim.replaces or ())
    return [claim for claim in claims if claim.verdict != "withdrawn" and claim.id not in withdrawn]


def _select_standing(valid: Sequence[_Claim]) -> set[str]:
    """Return the ids of the records that no other one replaces.

    A person's newest record is the one replacing the others by name, even if the clock went back in between.
    """
    author = {claim.id: (claim.content_hash, claim.who) for claim in valid}
    replaced: set[str] = set()
    replaced_by_author: set[str] = set()
    for claim in valid:
        for other in claim.replaces or ():
            replaced.add(other)
            if author.get(other) == author[claim.id]:
                replaced_by_author.add(other)
    newest = {author[claim.id]: claim.id for claim in valid if claim.id not in replaced_by_author}
    return set(newest.values()) - replaced


def _list_records(table: pa.Table, standing: set[str], renamed: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """List the standing records, with times in microseconds since 1970 and current names of classes."""
    table = table.set_column(table.column_names.index("at"), "at", table["at"].cast(pa.int64()))
    columns = [table[name].to_pylist() for name in _USED]  # a third of the time of Table.to_pylist
    for values in zip(*columns, strict=True):
        if values[0] not in standing:
            continue
        record = dict(zip(_USED, values, strict=True))
        for name in ("label", "label_before"):
            record[name] = renamed.get(record[name], record[name])
        boxes = [ReviewBox(**box) for box in record["boxes"] or ()]
        record["boxes"] = tuple(replace(box, label=renamed.get(box.label, box.label)) for box in boxes)
        yield record


def _resolve_photo(records: Sequence[Mapping[str, Any]], renamed: Mapping[str, str], *, audited: bool) -> Truth:
    """Resolve the standing records of one photo, oldest first."""
    newest = records[-1]
    boxed = next((record for record in reversed(records) if record["boxes_complete"]), newest)
    answers = tuple(record["label"] or record["verdict"] for record in records)
    # a class may be called like a verdict
    agreed = len({(answer, record["label"] is None) for answer, record in zip(answers, records, strict=True)}) == 1
    agreed = agreed and _agree_on_boxes(records)
    state: TruthState = "reviewed" if newest["label"] is not None else newest["verdict"]
    return Truth(
        content_hash=newest["content_hash"],
        state=state if agreed else "disputed",
        label=newest["label"] if agreed else None,
        boxes=boxed["boxes"] if agreed else (),
        boxes_complete=bool(boxed["boxes_complete"]) and agreed,
        verdict=newest["verdict"],
        who=tuple(record["who"] for record in records),
        records=tuple(record["id"] for record in records),
        at=newest["at"],
        path=newest["path"],
        answers=answers,
        fingerprint=newest["fingerprint"] or "",
        label_before=newest["label_before"],
        audited=audited,
        also_called=tuple(former for former, name in renamed.items() if name == newest["label"]),
        note=newest["note"],
    )


def _agree_on_boxes(records: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether all complete sets of boxes are the same, box by box; incomplete ones contradict nobody."""
    first, *others = [record["boxes"] for record in records if record["boxes_complete"]] or [()]
    return all(boxes_match(first, other) for other in others)


def boxes_match(boxes: Sequence[ReviewBox], others: Sequence[ReviewBox]) -> bool:
    """Tell whether two sets of boxes pair up one to one: same label, intersection over union of 0.5 or more."""
    if len(boxes) != len(others):
        return False
    if not boxes:
        return True
    from scipy.optimize import linear_sum_assignment  # half a second to import, for rare cases

    overlaps = np.array([[overlap(box, other) for other in others] for box in boxes])  # (n, n)
    rows, columns = linear_sum_assignment(overlaps >= _SAME_BOX_OVERLAP, maximize=True)
    return bool((overlaps[rows, columns] >= _SAME_BOX_OVERLAP).all())


def overlap(box: ReviewBox, other: ReviewBox) -> float:
    """Return the intersection over union, 0 for boxes with different labels."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    if box.label != other.label or width <= 0 or height <= 0:
        return 0.0
    areas = ((each.x1 - each.x0) * (each.y1 - each.y0) for each in (box, other))
    return width * height / (sum(areas) - width * height)
