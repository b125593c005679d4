"""Input and result of every order of the queue."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.review.config import ReviewConfig
from pipeline.review.queue_source import QueueSource
from pipeline.review.rows import Flags, Integers, ReviewRows
from pipeline.review.top_scores import TopScores
from pipeline.reviews.classes import ReviewClass, current_names
from pipeline.reviews.truth import Truth

IN_AUDIT = "kept for the audit"
IN_TEST_GROUPS = "in test groups"


@dataclass(frozen=True)
class Ranking:
    """Photos in an order.

    Attributes:
        rows: row numbers, the first photo first.
        explain: the reason for showing a row, in a short sentence.
        nothing: the reason for an empty ranking.
        left_out: photos left out on purpose, counted by reason.
    """

    rows: Integers
    explain: Callable[[int], str]
    nothing: str
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class QueueInput:
    """The photos, and everything known of them.

    Attributes:
        rows: of the table.
        truths: by content hash, from `resolve_truths`.
        classes: of the results folder.
        config: the reviewer's settings.
    """

    rows: ReviewRows
    truths: Mapping[str, Truth]
    classes: Sequence[ReviewClass]
    config: ReviewConfig

    @cached_property
    def source(self) -> QueueSource:
        """The reader of everything that only some orders need."""
        return QueueSource(self.rows, self.config.labels)

    @cached_property
    def top_scores(self) -> TopScores:
        """The best scores of all rows."""
        return TopScores(self.rows.table, self._renamed)

    @cached_property
    def truth_of_row(self) -> dict[int, Truth]:
        """The truth of every selected row answered by anybody, one row for each content."""
        found: dict[str, int] = {}
        if self.truths:
            hashes = self.rows.content_hashes.astype(str).tolist()
            for row in np.flatnonzero(self.is_candidate).tolist():
                if hashes[row] in self.truths:
                    found[hashes[row]] = row
        return {row: self.truths[content_hash] for content_hash, row in found.items()}

    @cached_property
    def is_candidate(self) -> Flags:
        """The selected rows, one for each content: copies share their reviews, so one answer is enough."""
        is_candidate = self.rows.selected.copy()
        hashes = self.rows.table["content_hash"].filter(pa.array(is_candidate)).combine_chunks()
        codes = hashes.dictionary_encode().indices.to_numpy()  # counted up, content by content
        is_candidate[is_candidate] = np.diff(np.maximum.accumulate(codes), prepend=-1) > 0
        return is_candidate

    @cached_property
    def is_open(self) -> Flags:
        """Candidates without an answer; with `second_opinion`, without an answer of this reviewer."""
        is_open = self.is_candidate.copy()
        who, second_opinion = self.config.person, self.config.second_opinion
        is_open[[row for row, truth in self.truth_of_row.items() if not second_opinion or who in truth.who]] = False
        return is_open

    @cached_property
    def is_audit(self) -> Flags:
        """Photos of the audit."""
        if self.config.audit <= 0:
            return np.zeros(len(self.rows), bool)
        return np.asarray(self.rows.audit_positions < self.config.audit)

    @cached_property
    def is_audit_open(self) -> Flags:
        """Photos of the audit not answered in it, blind; those reviewed in other orders are asked about again.

        None under --where: a sample of some photos is not one of all.
        """
        if self.config.where is not None:
            return np.zeros(len(self.rows), bool)
        is_audit_open = self.is_candidate & self.is_audit
        for row, truth in self.truth_of_row.items():
            is_answered = truth.audited and (not self.config.second_opinion or self.config.person in truth.who)
            if is_answered or truth.state in ("disputed", "rejected"):
                is_audit_open[row] = False
        return is_audit_open

    def choose_doubtful(self) -> tuple[Flags, dict[str, int]]:
        """Choose the photos for an order by doubt, and count those left out.

        Photos of the audit and of test groups are left out: answered in an order of doubt, they would no longer be a
        fair sample.
        """
        is_test = self.source.is_test
        counts = {
            IN_AUDIT: int((self.is_open & self.is_audit & ~is_test).sum()),
            IN_TEST_GROUPS: int((self.is_open & is_test).sum()),
        }
        return self.is_open & ~self.is_audit & ~is_test, {reason: count for reason, count in counts.items() if count}

    def rows_with(self, matches: Callable[[Truth], bool]) -> Integers:
        """Return the rows with such a truth."""
        return np.array([row for row, truth in self.truth_of_row.items() if matches(truth)], np.int64)

    def label(self, row: int) -> str:
        """Return the model's label of a row, by its current name."""
        return self.current_name(self.rows.label_names[self.rows.label_codes[row]])

    def current_name(self, label: str) -> str:
        """Return the current name of a label, which a model may know by an earlier one."""
        return self._renamed.get(label, label)

    @cached_property
    def _renamed(self) -> Mapping[str, str]:
        return current_names(self.classes)


def sort_rows(rows: npt.NDArray[np.integer[Any]], key: npt.NDArray[Any]) -> Integers:
    """Sort rows by a value of each row of the table, the least first; equal ones stay in their order."""
    return rows[np.argsort(key[rows], kind="stable")].astype(np.int64)
