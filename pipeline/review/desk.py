"""The desk of a reviewer: the rows, the queue, the classes, the decisions. Knows nothing of HTTP."""

from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from pipeline.review.audit_tally import AuditTally
from pipeline.review.class_names import clean_class_name
from pipeline.review.config import ReviewConfig
from pipeline.review.counts import count_reviews
from pipeline.review.first_classes import list_model_classes
from pipeline.review.held_out import find_test_photos
from pipeline.review.queue import build_queue
from pipeline.review.refusals import BadRequestError, UnknownPhotoError
from pipeline.review.reviewed import ReviewedPhotos
from pipeline.review.row_json import row_as_json, truth_as_json
from pipeline.review.row_maps import MapReader
from pipeline.review.rows import Flags, ReviewRows, read_rows
from pipeline.review.submission import Circumstances, Submission, make_record
from pipeline.reviews.classes import current_names, extend_classes, read_classes, without_retired
from pipeline.reviews.files import REVIEWS, SPLITS_FILE
from pipeline.reviews.record import ReviewRecord
from pipeline.reviews.session import ReviewSession


class ReviewDesk:
    """One review of a results folder. Safe for use by several threads.

    Attributes:
        config: the settings.
        rows: the photos.
        maps: of single rows.
        reviewed: all decisions.
        queue: the photos to review, in their order.
        classes: all classes, retired ones too.
        warnings: for the reviewer, one line each.
        own: the records of this session by id, in their order.
        done_before: photos reviewed before the start.
    """

    def __init__(self, config: ReviewConfig) -> None:
        """Read everything, and begin a session.

        Raises:
            ConfigError: there is nothing to review.
            DataError: classes.json is damaged.
            StoreError: a file is damaged, or the folder can't be written.
        """
        from pipeline.results.conditions import parse_where

        out = config.out
        self.config = config
        self.rows: ReviewRows = read_rows(out, parse_where(config.where) if config.where else None)
        self.maps = MapReader(self.rows)
        by_model = list_model_classes(self.rows)
        names = [name for classes in by_model.values() for name in classes] + list(self.rows.label_names)
        self.classes = extend_classes(out, [*names, *config.classes])
        self._current_names = current_names(self.classes)
        only_by = config.person if config.second_opinion else None
        self.reviewed = ReviewedPhotos(self.rows, self._current_names, only_by)
        self.done_before = int(np.count_nonzero(self.reviewed.states))
        self.queue = build_queue(self.rows, self.reviewed.truths, self.classes, config)
        self.warnings = (*_list_warnings(self.rows, by_model), *self.queue.warnings)
        self.own: dict[str, ReviewRecord] = {}
        self._lock = RLock()
        self._changes: list[int] = []
        self._methods: dict[str, list[str]] = {}
        self._tally = AuditTally(self.rows, self.reviewed)
        self._is_queued, self._is_asked_blind = np.zeros((2, len(self.rows)), bool)
        self._is_queued[self.queue.rows] = True
        self._is_asked_blind[self.queue.rows[self.queue.is_audit]] = True
        self._session = ReviewSession(out, config.person, self.reviewed.known_ids)

    @property
    def session(self) -> str:
        """Name of the session."""
        return self._session.name

    @cached_property
    def is_held_out(self) -> Flags:
        """Photos of the audit and of test groups, a fair sample as long as nobody chooses among them."""
        is_audit: Flags = self.rows.audit_positions < self.config.audit
        return is_audit | find_test_photos(self.rows, self.config.out / REVIEWS / SPLITS_FILE)

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def is_blind(self, row: int) -> bool:
        """Tell whether the model's answer is hidden: in photos of the audit without a record.

        The queue may ask again, blind, about photos reviewed before in another order.
        """
        if self.rows.audit_positions[row] >= self.config.audit:
            return False
        seen = self.reviewed.audited if self._is_asked_blind[row] else self.reviewed.recorded
        return self.rows.value("content_hash", row) not in seen

    def _hides_answers(self, row: int) -> bool:
        """Tell whether what others say is hidden: a second opinion knows nothing of the first."""
        is_open = self.rows.value("content_hash", row) not in self.reviewed.recorded
        return self.is_blind(row) or (self.config.second_opinion and is_open)

    def describe(self, row: int) -> dict[str, Any]:
        """Describe a row for the page."""
        with self._lock:
            is_blind = self.is_blind(row)
            truth = self.reviewed.truths.get(self.rows.value("content_hash", row))
            stale = self.reviewed.stale_truth(row) if truth is None else None
            shown = None
            if not self._hides_answers(row) and (truth or stale):
                shown = truth_as_json(truth or stale, is_stale=truth is None)  # type: ignore[arg-type]
            reason = self.queue.reason_of(row)
        methods = [] if is_blind else self._list_methods(row)
        return row_as_json(self.rows, row, reason=reason, truth=shown, methods=methods, is_blind=is_blind)

    def decide(self, submission: Submission) -> dict[str, Any]:
        """Write a decision to the disk; a record sent once more is not written again.

        Raises:
            UnknownPhotoError: no photo here has this content.
            BadRequestError: the record is wrong; one line.
            StoreError: the disk is full or can't be written.
        """
        rows = self.rows.find_hash(submission.content_hash)
        if not len(rows):
            raise UnknownPhotoError("no photo of this review has this content; it was replaced, or its row is gone")
        row = submission.row if submission.row is not None and submission.row in rows else int(rows[0])
        with self._lock:
            is_repeated = submission.id in self.reviewed.known_ids
            verdict = submission.verdict
            if not is_repeated:
                record = make_record(submission, self.rows, row, self._circumstances(row))
                if submission.verdict == "withdrawn":
                    self._check_withdrawal(submission)
                is_repeated = not self._session.append(record)
                self._take_in(record)
                verdict = record.verdict
        answer = {"id": submission.id, "repeated": is_repeated, "verdict": verdict}
        return answer | {"row": self.describe(row), "counts": self.counts()}

    def add_class(self, name: str) -> None:
        """Append a class.

        Raises:
            BadRequestError: the name is empty, too long, or taken; one line.
            StoreError: the disk is full or can't be written.
        """
        try:
            name = clean_class_name(name)
        except ValueError as error:
            raise BadRequestError(str(error)) from None
        with self._lock:
            self._read_classes()
            if any(name in (each.name, *each.formerly) for each in self.classes):
                raise BadRequestError(f"there is a class {name!r} already")
            extend_classes(self.config.out, [name])
            self._read_classes()

    def changes_since(self, position: int) -> tuple[int, list[int]]:
        """Take in decisions and classes of other sessions; return the next position, and the rows changed since one."""
        with self._lock:
            self._read_classes()
            changed = self.reviewed.read_others()
            self._tally.update(changed)
            self._changes += changed
            return len(self._changes), sorted(set(self._changes[max(0, position) :]))

    def counts(self) -> dict[str, Any]:
        """Count the decisions for the page."""
        with self._lock:
            return count_reviews(self.own.values(), self.reviewed, self.queue.rows, self._tally)

    def undo_stack(self) -> list[dict[str, Any]]:
        """List this session's records that can be taken back, oldest first: id, row and content hash."""
        with self._lock:
            withdrawn = {
                other for record in self.own.values() if record.verdict == "withdrawn" for other in record.replaces
            }
            standing = [
                record for record in self.own.values() if record.verdict != "withdrawn" and record.id not in withdrawn
            ]
        return [
            {"id": each.id, "row": int(self.rows.find_hash(each.content_hash)[0]), "content_hash": each.content_hash}
            for each in standing
        ]

    def current_label(self, row: int) -> str | None:
        """Return the model's answer by the current name of its class."""
        label: str | None = self.rows.value("label", row)
        return None if label is None else self._current_names.get(label, label)

    def _read_classes(self) -> None:
        """Read the classes again, for those added by others and for corrected guides."""
        self.classes = read_classes(self.config.out)
        self._current_names = current_names(self.classes)

    def _take_in(self, record: ReviewRecord) -> None:
        self._tally.update(self.reviewed.add(record))
        self.own[record.id] = record

    def _circumstances(self, row: int) -> Circumstances:
        return Circumstances(
            who=self.config.person,
            session=self._session.name,
            order=self._describe_order() if self._is_queued[row] else "",
            blind=self.is_blind(row),
            model_label=self.current_label(row),
            labels=frozenset(each.name for each in without_retired(self.classes)),
        )

    def _describe_order(self) -> str:
        """Return the order for a record; with a condition it is another one, no sample of all photos."""
        condition = self.config.where
        return self.config.order if condition is None else f"{self.config.order} where {condition}"

    def _check_withdrawal(self, submission: Submission) -> None:
        """Refuse to take back what is not this person's own record of this photo."""
        records = {record["id"]: record for record in self.reviewed.records_of(submission.content_hash)}
        own = {key for key, record in records.items() if record["who"] == self.config.person}
        if not submission.replaces or not own.issuperset(submission.replaces):
            raise BadRequestError("withdrawn: replaces must name a record of yours about this photo")

    def _list_methods(self, row: int) -> list[str]:
        """List the methods beside the main one, the same for all rows of a fingerprint."""
        fingerprint = self.rows.value("fingerprint", row)
        if fingerprint not in self._methods:
            maps = self.maps.read(row)
            self._methods[fingerprint] = [name for name in maps.maps if name != maps.method] if maps else []
        return self._methods[fingerprint]


def _list_warnings(rows: ReviewRows, by_model: dict[str, tuple[str, ...]]) -> list[str]:
    warnings = []
    if rows.failed:
        warnings.append(f"{rows.failed:,} failed photos are left out; vitrollout status names them")
    if len({frozenset(classes) for classes in by_model.values()}) > 1:
        models = ", ".join(sorted(by_model))
        warnings.append(f"the table has rows of models with different classes ({models}); all classes are offered")
    if rows.source is None or not Path(rows.source).is_dir():
        warnings.append(f"the input folder {rows.source or ''} is gone, so photos can't be shown; mount it again")
    return warnings
