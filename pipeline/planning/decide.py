"""What to do with each photo, by its current row: decided for a chunk of photos at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.decision import without_decision
from pipeline.records import ImageRef
from pipeline.results.done_index import OK, SETTLED, DoneIndex, Ints

Mask = npt.NDArray[np.bool_]

_UNKNOWN = -3  # the number of a text in no row


@dataclass(frozen=True)
class Decisions:
    """Decisions about the photos of a chunk; each is at most one of pending, suspect and rejudged.

    Attributes:
        rows: numbers of their current rows, -1 without one.
        mtimes: of the files, nanoseconds.
        is_new: without a row.
        is_changed: of another size than in their row.
        is_pending: to process.
        is_suspect: with another mtime than in their row; their content decides.
        has_other_decision: with another fingerprint than in their row, if only in the part of the decision.
        is_rejudged: done but for another decision.
        has_failed: with a failed row.
    """

    rows: Ints
    mtimes: Ints
    is_new: Mask
    is_changed: Mask
    is_pending: Mask
    is_suspect: Mask
    has_other_decision: Mask
    is_rejudged: Mask
    has_failed: Mask


class Judge:
    """Decides about photos, by the rows of a table and the fingerprints of this run."""

    def __init__(self, index: DoneIndex, fingerprint_of: Callable[[str], str], *, retry_failed: bool) -> None:
        """Compare the fingerprints in the table, few as they are, once.

        Args:
            index: of the table.
            fingerprint_of: of a photo, by path.
            retry_failed: process failed photos again.
        """
        self._index, self._fingerprint_of, self._retry_failed = index, fingerprint_of, retry_failed
        self._bases: dict[str, int] = {}
        bases = [self._number_base(text) for text in index.fingerprint_texts]
        self._base_of_fingerprint = np.array(bases or [_UNKNOWN], np.int32)
        self._wanted: dict[str, tuple[int, int]] = {}  # numbers by fingerprint: its own, and without the decision

    def decide(self, refs: Sequence[ImageRef]) -> Decisions:
        """Decide about photos.

        A photo is done if its current row has the same fingerprint, size and mtime. If only the mtime differs, the
        content hash decides. If only the decision's part of the fingerprint differs, the row is judged again by its
        logits. A failed photo counts as done too, without `retry_failed`, if its bytes decided that: a fault of the
        machine says nothing about the photo, and the photo gets another attempt.
        """
        index, count = self._index, len(refs)
        rows = index.find(np.fromiter((hash(ref.path) for ref in refs), np.int64, count).view(np.uint64))
        sizes = np.fromiter((ref.file_bytes for ref in refs), np.int64, count)
        mtimes = np.fromiter((ref.mtime_ns for ref in refs), np.int64, count)
        is_new = rows < 0
        if not len(index):
            nothing = np.zeros(count, bool)
            return Decisions(rows, mtimes, is_new, nothing, is_new, nothing, nothing, nothing, nothing)
        wanted, wanted_base = self._number_wanted(refs)
        row = np.where(is_new, 0, rows)  # any row, masked below
        fingerprints, states = index.fingerprints[row], index.states[row]
        is_changed = ~is_new & (index.file_bytes[row] != sizes)
        has_other_base = self._base_of_fingerprint[fingerprints] != wanted_base
        has_failed = ~is_new & (states != OK)
        is_tried_again = has_failed & (self._retry_failed | ~self._find_settled(refs, states))
        is_pending = is_new | is_changed | has_other_base | is_tried_again
        is_suspect = ~is_pending & (index.mtime_ns[row] != mtimes)
        has_other_decision = ~is_pending & (fingerprints != wanted)
        is_rejudged = has_other_decision & ~is_suspect
        return Decisions(
            rows, mtimes, is_new, is_changed, is_pending, is_suspect, has_other_decision, is_rejudged, has_failed
        )

    def _find_settled(self, refs: Sequence[ImageRef], states: npt.NDArray[np.int32]) -> Mask:
        """Mark failed photos whose next attempt would end the same, by their bytes or their kind."""
        errors = self._index.error_texts
        problems = np.full(len(refs), _UNKNOWN, np.int32)
        for place, ref in enumerate(refs):
            if ref.problem is not None:
                problems[place] = errors.get(ref.problem, _UNKNOWN)
        is_settled: Mask = (states == SETTLED) | (states == problems)
        return is_settled

    def _number_wanted(self, refs: Sequence[ImageRef]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Number the fingerprints of photos in this run, with and without the part of the decision."""
        texts = [self._fingerprint_of(ref.path) for ref in refs]
        for text in set(texts).difference(self._wanted):
            own = self._index.fingerprint_texts.get(text, _UNKNOWN)
            self._wanted[text] = own, self._number_base(text)
        numbers = np.array([self._wanted[text] for text in texts], np.int32)
        return numbers[:, 0], numbers[:, 1]

    def _number_base(self, fingerprint: str) -> int:
        return self._bases.setdefault(without_decision(fingerprint), len(self._bases))
