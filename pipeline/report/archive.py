"""The table of a results folder in numbers, with the rows that the report shows.

One pass over the parts counts every row, in some 54 bytes of memory a row; then the details of a few rows are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.decision import OUTCOMES
from pipeline.report.archive_map import ArchiveMap, draw_archive_map
from pipeline.report.changes import Changes, find_changes
from pipeline.report.drift import LOW_CONFIDENCE
from pipeline.report.gallery_choice import Choice, ReviewedRows, choose_rows
from pipeline.report.part_columns import Integers, Mask
from pipeline.report.table_columns import TableColumns, read_table_columns
from pipeline.report.unfamiliar_photos import UnfamiliarPhotos, count_unfamiliar
from pipeline.results.current_rows import Hashes, hash_paths
from pipeline.results.names import part_files
from pipeline.results.read import check_results_folder
from pipeline.reviews.summary import is_contradicted
from pipeline.reviews.truth import Truth
from pipeline.storage.location import Location

GALLERY_COLUMNS = [
    "path", "path_bytes", "content_hash", "width", "height", "status", "error", "note", "label", "score", "top_labels",
    "top_scores", "overlay", "run_id", "processed_at", "defect_score", "decision", "unfamiliar",
    "detections",
]  # fmt: skip
_BINS = 20
_MOST_TIED = 1000  # failures of the same moment, to be sorted by path


@dataclass(frozen=True)
class Gallery:
    """The photos of the gallery.

    Attributes:
        frame: their rows with `GALLERY_COLUMNS`, sorted by path, and `before`: the earlier label of photos relabelled
            by the newest run ("failed" if it had none), else None.
        choice: why these photos; its groups are empty if they are all there are.
        map: some of these photos, as rows of `frame`, by their embeddings; None without any.
    """

    frame: pd.DataFrame
    choice: Choice
    map: ArchiveMap | None


@dataclass(frozen=True)
class Archive:
    """The table of a results folder.

    Attributes:
        parts: number of its files.
        photos: number of current rows.
        failed: number of failed ones among them.
        broken: of these, failed by their own bytes.
        labels: photos by label, most frequent first.
        decisions: photos by decision; empty without decisions.
        reasons: failed photos by reason, most frequent first.
        failures: (path, reason) of the newest failures.
        histogram: photos by score, in equal bins from 0 to 1.
        unsure: number of photos with a score below `LOW_CONFIDENCE`.
        new: number of photos first seen by the newest run.
        relabelled: (label before, label now, photos) of the labels changed by the newest run.
        unfamiliar: photos unlike the training photos.
        reviewed: path, content_hash and label of the rows with reviews, and of rows whose path has reviews of a
            replaced photo.
        gallery: the photos shown.
    """

    parts: int
    photos: int
    failed: int
    broken: int
    labels: dict[str, int]
    decisions: dict[str, int]
    reasons: dict[str, int]
    failures: Sequence[tuple[str, str]]
    histogram: Sequence[int]
    unsure: int
    new: int
    relabelled: Sequence[tuple[str, str, int]]
    unfamiliar: UnfamiliarPhotos
    reviewed: pd.DataFrame
    gallery: Gallery


def read_archive(out: Location, truths: Mapping[str, Truth], *, failures: int = 10, most_shown: int = 0) -> Archive:
    """Read the table of a results folder.

    Args:
        out: the results folder.
        truths: what people say about its photos, by content hash.
        failures: number of the newest failures to list, at most.
        most_shown: number of photos up to which the gallery shows all of them; 0 for an empty gallery.

    Raises:
        ConfigError: it is not a results folder.
        StoreError: a part is damaged.
    """
    check_results_folder(out)
    while True:
        try:
            return _gather_archive(read_table_columns(part_files(out), truths), truths, failures, most_shown)
        except FileNotFoundError:
            continue  # compacted meanwhile; the new parts have its rows


def _gather_archive(columns: TableColumns, truths: Mapping[str, Truth], failures: int, most_shown: int) -> Archive:
    current, failed = columns.is_current, columns.failures
    is_failed_now = current[failed.row]
    changes = find_changes(columns)
    rows, reviewed = _read_reviewed(columns, truths)
    choice = Choice(rows[:0], 0, ())
    if most_shown:
        reviews = ReviewedRows(rows, rows[_find_contradicted(reviewed, truths)])
        choice = choose_rows(columns, changes, reviews, most_shown)
    decisions = _count_texts(columns.decision[current], OUTCOMES)
    return Archive(
        parts=len(columns.parts),
        photos=int(np.count_nonzero(current)),
        failed=int(np.count_nonzero(is_failed_now)),
        broken=int(np.count_nonzero(is_failed_now & failed.is_broken)),
        labels=_count_texts(columns.label[current], columns.labels),
        decisions={outcome: decisions.get(outcome, 0) for outcome in OUTCOMES} if decisions else {},
        reasons=_count_texts(failed.reason[is_failed_now], failed.reasons),
        failures=_list_newest_failures(columns, failures),
        histogram=np.histogram(columns.score[current], bins=_BINS, range=(0, 1))[0].tolist(),
        unsure=int(np.count_nonzero(columns.score[current] < LOW_CONFIDENCE)),
        new=len(changes.new),
        relabelled=changes.count_pairs(columns),
        unfamiliar=count_unfamiliar(columns),
        reviewed=reviewed,
        gallery=_read_gallery(columns, changes, choice),
    )


def _count_texts(numbers: Integers, texts: Sequence[str]) -> dict[str, int]:
    """Count rows by text, most frequent first; -1 stands for no text."""
    counts = np.bincount(numbers[numbers >= 0], minlength=len(texts)).tolist()
    counted = ((text, count) for text, count in zip(texts, counts, strict=True) if count)
    return dict(sorted(counted, key=lambda item: (-item[1], item[0])))


def _list_newest_failures(columns: TableColumns, most: int) -> Sequence[tuple[str, str]]:
    failed = columns.failures
    is_current = columns.is_current[failed.row]
    rows, times = failed.row[is_current], failed.processed_at[is_current]
    newest = np.sort(np.argsort(-times, kind="stable")[: max(most, _MOST_TIED)])
    frame = columns.read_rows(rows[newest], ["path", "error"]).assign(at=times[newest])
    frame = frame.sort_values(["at", "path"], ascending=[False, True]).head(most)
    return list(zip(frame["path"], frame["error"], strict=True))


def _read_reviewed(columns: TableColumns, truths: Mapping[str, Truth]) -> tuple[Integers, pd.DataFrame]:
    """Return the rows with reviews, and `Archive.reviewed`, which begins with these rows."""
    names = ["path", "content_hash", "label"]
    rows = np.flatnonzero(columns.is_current & columns.is_reviewed)
    frame = columns.read_rows(rows, names)
    found = set(frame["content_hash"])
    missing = [truth.path for content_hash, truth in truths.items() if content_hash not in found]
    if not missing:
        return rows, frame
    is_replaced = columns.is_current & ~columns.is_reviewed
    is_replaced &= _are_among(columns.path_hash, hash_paths(pa.array(missing, pa.string())))
    replaced = columns.read_rows(np.flatnonzero(is_replaced), names)
    return rows, pd.concat([frame.astype(object), replaced.astype(object)], ignore_index=True)


def _are_among(hashes: Hashes, wanted: Hashes) -> Mask:
    """Tell for each of many hashes whether it is one of a few; np.isin would sort the many."""
    wanted = np.unique(wanted)
    place = np.searchsorted(wanted, hashes)
    place[place == len(wanted)] = 0
    return np.asarray(wanted[place] == hashes)


def _find_contradicted(reviewed: pd.DataFrame, truths: Mapping[str, Truth]) -> Integers:
    """Return the places of rows with a review contradicted by the model."""
    labels = (label if isinstance(label, str) else None for label in reviewed["label"])
    found = zip((truths.get(content_hash) for content_hash in reviewed["content_hash"]), labels, strict=True)
    places = [place for place, (truth, label) in enumerate(found) if truth and is_contradicted(label, truth)]
    return np.array(places, np.int64)


def _read_gallery(columns: TableColumns, changes: Changes, choice: Choice) -> Gallery:
    is_shown = np.isin(changes.relabelled, choice.rows, assume_unique=True)
    before = np.full(len(choice.rows), None, object)
    places = np.searchsorted(choice.rows, changes.relabelled[is_shown])
    before[places] = [columns.label_name(label) for label in changes.before[is_shown].tolist()]
    frame = columns.read_rows(choice.rows, GALLERY_COLUMNS).assign(before=pd.Series(before, dtype=object))
    drawn = draw_archive_map(columns, choice.rows)
    order = frame["path"].argsort(kind="stable").to_numpy()
    if drawn:
        row_of_place = np.argsort(order)
        drawn = replace(drawn, places=row_of_place[drawn.places])
    return Gallery(frame.iloc[order].reset_index(drop=True), choice, drawn)
