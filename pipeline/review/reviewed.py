"""All decisions about the rows and the truths they add up to, also those other people are making now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.review.rows import Flags, ReviewRows
from pipeline.reviews.read import ReviewReader
from pipeline.reviews.record import REVIEW_SCHEMA, ReviewRecord
from pipeline.reviews.truth import AUDIT_ORDERS, Truth, resolve_truths

_STATES = {"reviewed": 1, "unsure": 2, "rejected": 3, "disputed": 4}
_SEEN_BY = ("content_hash", "who", "blind", "order")
DISPUTED = _STATES["disputed"]


class ReviewedPhotos:
    """The decisions of a results folder, kept up to date.

    Attributes:
        truths: by content hash.
        states: of each row: 0 not reviewed, 1 reviewed, 2 unsure, 3 rejected, 4 disputed.
        recorded: content hashes with a record, a withdrawn one too.
        audited: of these, those with a blind record in the audit.
        is_decided: rows decided since the start, in this session or another.
        known_ids: of all records.
    """

    def __init__(self, rows: ReviewRows, renamed: Mapping[str, str], only_by: str | None = None) -> None:
        """Read all decisions made so far.

        Args:
            rows: the photos.
            renamed: the current name of a class by each earlier one.
            only_by: person whose records count for `recorded` and `audited`; None: everybody's.

        Raises:
            StoreError: a file is damaged.
        """
        self._rows = rows
        self._renamed = renamed
        self._only_by = only_by
        self._reader = ReviewReader(rows.out)
        self._before = self._reader.read_new()
        self._since: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.truths = resolve_truths(self._before, renamed)
        self.recorded: set[str] = set()
        self.audited: set[str] = set()
        columns = (self._before[name].to_pylist() for name in _SEEN_BY)
        self._mark_seen(dict(zip(_SEEN_BY, values, strict=True)) for values in zip(*columns, strict=True))
        self.is_decided: Flags = np.zeros(len(rows), bool)
        self.known_ids = self._reader.ids
        hashes = rows.table["content_hash"].to_pylist()
        found = (self.truths.get(content_hash) for content_hash in hashes)
        self.states: npt.NDArray[np.int8] = np.array([_STATES[truth.state] if truth else 0 for truth in found], np.int8)
        present = set(hashes)
        self._stale = {truth.path: truth for key, truth in self.truths.items() if key not in present}

    def add(self, record: ReviewRecord) -> list[int]:
        """Take in a record of this session, already on the disk; return the rows concerned."""
        self._reader.ids.add(record.id)
        return self._take_in([{**vars(record), "boxes": [vars(box) for box in record.boxes]}])

    def read_others(self) -> list[int]:
        """Take in the records written by others since the last call; return the rows concerned."""
        return self._take_in(self._reader.read_new().to_pylist())

    def records_of(self, content_hash: str) -> list[dict[str, Any]]:
        """Return all records of a photo, oldest first."""
        table = self._records_table(content_hash)
        records: list[dict[str, Any]] = table.to_pylist()
        return records

    def stale_truth(self, row: int) -> Truth | None:
        """Return the truth about an earlier photo under the same path, None if there is none."""
        return self._stale.get(self._rows.value("path", row))

    def _take_in(self, records: list[dict[str, Any]]) -> list[int]:
        for record in records:
            self._since[record["content_hash"]].append(record)
        changed = dict.fromkeys(record["content_hash"] for record in records)
        self._mark_seen(records)
        return [row for content_hash in changed for row in self._resolve_again(content_hash)]

    def _mark_seen(self, records: Iterable[Mapping[str, Any]]) -> None:
        for record in records:
            if self._only_by in (None, record["who"]):
                self.recorded.add(record["content_hash"])
                if record["blind"] and record["order"] in AUDIT_ORDERS:
                    self.audited.add(record["content_hash"])

    def _resolve_again(self, content_hash: str) -> list[int]:
        truth = resolve_truths(self._records_table(content_hash), self._renamed).get(content_hash)
        rows = self._rows.find_hash(content_hash)
        self.states[rows] = _STATES[truth.state] if truth else 0
        self.is_decided[rows] = truth is not None
        if truth:
            self.truths[content_hash] = truth
        else:
            self.truths.pop(content_hash, None)
        return [int(row) for row in rows]

    def _records_table(self, content_hash: str) -> pa.Table:
        before = self._before.filter(pc.equal(self._before["content_hash"], content_hash))
        since = pa.Table.from_pylist(self._since.get(content_hash, []), REVIEW_SCHEMA)
        return pa.concat_tables([before, since]).sort_by([("at", "ascending"), ("id", "ascending")])
