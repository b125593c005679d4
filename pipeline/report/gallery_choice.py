"""Which photos of a table the gallery shows: all of a small one; of a large one, those worth a look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.decision import OUTCOMES
from pipeline.records import UNFAMILIAR_FROM
from pipeline.report.changes import Changes
from pipeline.report.part_columns import Integers, Mask
from pipeline.report.table_columns import TableColumns

MOST_SHOWN = 100_000  # photos; the gallery of a larger table shows a choice
_CHOSEN = 20_000  # photos in such a choice, if there are enough
_LEAST_SURE = 0.1  # of them
_BLOCK = 1024  # rows, about a row group
_BLOCKS_DRAWN = 1 / 16  # share of the blocks
_SEED = 0  # the same table has the same choice


@dataclass(frozen=True)
class Group:
    """Photos chosen for one reason. A photo with several reasons belongs to the first of them.

    Attributes:
        what: the reason, to be read after a number: `failed`.
        shown: number of photos in the gallery.
        photos: number of photos with this reason and not shown for an earlier one.
    """

    what: str
    shown: int
    photos: int

    def describe(self) -> str:
        """Return `312 failed`, or `3,000 of 51,204 failed`."""
        return f"{self.shown:,} {'' if self.shown == self.photos else f'of {self.photos:,} '}{self.what}"


@dataclass(frozen=True)
class ReviewedRows:
    """Rows of the table with reviews, and of these, rows with reviews contradicted by the model."""

    rows: Integers
    contradicted: Integers


@dataclass(frozen=True)
class Choice:
    """The photos of a gallery.

    Attributes:
        rows: their rows in the table, ascending.
        photos: number of photos in the table.
        groups: the reasons; none if the gallery shows every photo.
    """

    rows: Integers
    photos: int
    groups: Sequence[Group]

    def describe(self) -> str:
        """Return one sentence about a gallery without some of the photos."""
        groups = ", ".join(group.describe() for group in self.groups)
        return f"The gallery shows {len(self.rows):,} of {self.photos:,} photos: {groups}."


def choose_rows(columns: TableColumns, changes: Changes, reviews: ReviewedRows, most_shown: int) -> Choice:
    """Choose the rows of the gallery.

    Args:
        columns: of the table.
        changes: the photos changed by the newest run.
        reviews: the photos with reviews.
        most_shown: number of photos up to which all are shown.
    """
    photos = int(np.count_nonzero(columns.is_current))
    if photos <= most_shown:
        return Choice(np.flatnonzero(columns.is_current), photos, ())
    size = min(_CHOSEN, most_shown)
    is_left = columns.is_current.copy()
    chosen, groups = [np.empty(0, np.int64)], []

    def add_group(what: str, rows: Integers, most: int) -> None:
        rows = rows[is_left[rows]]
        shown = rows[: min(most, count_room())]
        is_left[shown] = False
        chosen.append(shown)
        if len(shown):
            groups.append(Group(what, len(shown), len(rows)))

    def count_room() -> int:
        return size - sum(map(len, chosen))

    for share, what, rows in _list_reasons(columns, changes, reviews):
        add_group(what, rows, max(1, int(share * size)))
    least_sure = _find_least_sure(columns, is_left, max(1, int(_LEAST_SURE * size)))
    add_group("least sure", least_sure, len(least_sure))
    others = _sample_labels(columns, is_left, count_room())
    add_group("others spread over the labels", others, len(others))
    return Choice(np.sort(np.concatenate(chosen)), photos, groups)


def _list_reasons(
    columns: TableColumns, changes: Changes, reviews: ReviewedRows
) -> Iterator[tuple[float, str, Integers]]:
    """Yield share of the gallery, reason and rows of each group, rows of the newest runs first."""

    def newest_first(rows: Integers) -> Integers:
        return rows[np.argsort(-columns.run[rows], kind="stable")]

    failures = columns.failures
    yield 0.15, "failed", failures.row[np.argsort(-failures.processed_at, kind="stable")]
    unfamiliar = np.flatnonzero(columns.is_current & (columns.unfamiliar > UNFAMILIAR_FROM))
    yield 0.1, "unlike the training photos", newest_first(unfamiliar)
    for outcome in ("reject", "review"):
        decided = np.flatnonzero(columns.is_current & (columns.decision == OUTCOMES.index(outcome)))
        yield 0.1, f"with the decision {outcome}", newest_first(decided)
    yield 0.05, "with a review contradicted by the model", newest_first(reviews.contradicted)
    yield 0.1, "with another label than before", changes.relabelled
    if len(changes.new) < np.count_nonzero(columns.is_current):  # in a first run every photo is new
        yield 0.15, "new", changes.new
    yield 0.05, "reviewed", newest_first(reviews.rows)


def _find_least_sure(columns: TableColumns, is_left: Mask, most: int) -> Integers:
    """Find the rows left with the lowest scores."""
    scores = np.where(is_left & ~columns.is_failed, columns.score, np.float32(np.nan))  # NaN comes last
    lowest = np.argpartition(scores, min(most, len(scores)) - 1)[:most]
    return lowest[~np.isnan(scores[lowest])]


def _sample_labels(columns: TableColumns, is_left: Mask, most: int) -> Integers:
    """Draw rows left, about as many of each label; of a rare label all, and more of the others.

    Rows of frequent labels come from blocks of the table drawn by chance, so most of the table need not be read.
    """
    is_left = is_left & (columns.label >= 0)
    counts = np.bincount(columns.label[is_left], minlength=len(columns.labels))
    wanted = np.zeros(len(counts))
    room, labels = most, len(counts)
    for label in np.argsort(counts, kind="stable").tolist():
        wanted[label] = min(counts[label], room / labels)
        room, labels = room - wanted[label], labels - 1
    shares = np.append(wanted / np.maximum(counts, 1), 0).astype(np.float32)  # the last for rows without a label
    is_rare = shares > _BLOCKS_DRAWN
    shares[~is_rare] /= _BLOCKS_DRAWN
    random = np.random.default_rng(_SEED)
    is_drawn = np.repeat(random.random(len(is_left) // _BLOCK + 1) < _BLOCKS_DRAWN, _BLOCK)[: len(is_left)]
    is_drawn |= is_rare[columns.label]
    is_drawn &= is_left & (random.random(len(is_left), np.float32) < shares[columns.label])
    return random.permutation(np.flatnonzero(is_drawn))[:most]
