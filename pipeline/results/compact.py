"""Many small parts -> few large ones: the newest row of each path.

Small parts are merged, sorted by path. A large part stays as it is while all its rows are current; otherwise it is
written again without the others. So a night's compaction costs as much as the night's photos, not as the archive.

Crash-safe by its order: all new parts are written, then put in place, and only then are the old ones removed. Between
the last two steps rows occur twice, for a moment or, after a kill, until the next compaction. Readers of one row per
path don't notice.
"""

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import temporary_folder
from pipeline.errors import ConfigError
from pipeline.photos.listed import is_list
from pipeline.results.current_rows import Mask, find_current_rows
from pipeline.results.folder import ResultsFolder
from pipeline.results.gone import find_gone
from pipeline.results.input_of_results import input_folder_of_results, was_pruned_since
from pipeline.results.merge_parts import MaskedPart, merge_sorted
from pipeline.results.names import OVERLAYS, THUMBNAILS, TMP, fold_name, part_files, run_id_of_part, thumbnail_name
from pipeline.results.open_run import ONE_PROCESS, read_open_runs
from pipeline.results.parts import read_part
from pipeline.results.report_age import date_report_after_compaction, report_knows_all
from pipeline.results.run_record import newest_run_records
from pipeline.reviews.files import review_marks
from pipeline.reviews.fold import fold_sessions
from pipeline.storage.files import open_parquet
from pipeline.storage.location import Location, is_url, parse_location
from pipeline.storage.storage import check_reachable

_PART_BYTES = 64 * 2**20  # of a new part before compression; making it takes a few times as much memory
_LARGE = 0.9  # of the rows of a new part: a part to leave alone
_LATE = timedelta(days=1)  # after which no worker of a run can still be alive


@dataclass(frozen=True)
class Compaction:
    """The outcome of a compaction.

    Attributes:
        parts_before, parts: parts of the table.
        rows_before, rows: rows of the table.
        pruned: rows removed because their photo is gone.
        overlays_removed: overlays without a row.
        reviews_folded: ended sessions of reviewers, their records now in one file.
    """

    parts_before: int
    parts: int
    rows_before: int
    rows: int
    pruned: int = 0
    overlays_removed: int = 0
    reviews_folded: int = 0


def compact(out: str | Location, *, prune: bool = False) -> Compaction:
    """Rewrite the table of a results folder, and fold its ended reviews; both can be read at any moment.

    Args:
        out: the results folder, or its URL.
        prune: also drop rows of photos no longer there, and overlays without a row.

    Raises:
        ConfigError: it is not a results folder, or `prune` finds no input folder to compare with.
        FolderBusyError: a run holds it.
        StoreError: a part is damaged, the disk is full, or the folder can't be written.
    """
    out = parse_location(out)
    check_reachable(out)
    source = input_folder_of_results(out)
    if source is None or not part_files(out):
        raise ConfigError(f"{out} is not a results folder with rows in it; name the --out of a run")
    if prune and (not isinstance(out, Path) or is_url(source) or is_list(Path(source))):
        raise ConfigError(f"{out}: only results of a folder, on this machine, can be pruned; compact without --prune")
    with ResultsFolder(out, source) as results:
        reviews, was_current = review_marks(out), report_knows_all(out)
        table = _read_table(out)
        kept = _keep_existing_photos(table, Path(source)) if prune else table
        _rewrite(results, kept, pruned=prune or _was_pruned(out))
        reviews_folded = fold_sessions(out) if isinstance(out, Path) else 0
        if was_current and kept.current == table.current:
            date_report_after_compaction(out, reviews)  # it still knows every row
        overlays_removed = _remove_unnamed_overlays(out) if prune and isinstance(out, Path) else 0
        return Compaction(
            parts_before=len(table.parts),
            parts=len(part_files(out)),
            rows_before=table.rows,
            rows=kept.current,
            pruned=table.current - kept.current,
            overlays_removed=overlays_removed,
            reviews_folded=reviews_folded,
        )


def count_small_parts(out: Location) -> int:
    """Count the parts a compaction would merge with others."""
    rows, limit = _read_sizes(part_files(out))
    return int(((rows > 0) & (rows < limit / 2)).sum())


@dataclass(frozen=True)
class _Table:
    """All parts of a table: the masks of their rows to keep, and the rows of a large part."""

    parts: Sequence[Location]
    masks: Sequence[Mask]
    rows_per_part: int

    @property
    def rows(self) -> int:
        return sum(map(len, self.masks))

    @property
    def current(self) -> int:
        return sum(int(mask.sum()) for mask in self.masks)


def _read_table(out: Location) -> _Table:
    parts = part_files(out)
    _, rows_per_part = _read_sizes(parts)
    return _Table(parts, find_current_rows(parts), rows_per_part)


def _rewrite(results: ResultsFolder, kept: _Table, *, pruned: bool) -> None:
    """Put new parts in place of all but the large and current ones."""
    open_runs = {run.run_id for run in read_open_runs(results.out)}  # their workers go by the names of parts
    small: list[MaskedPart] = []
    shrunk: list[MaskedPart] = []
    for part, mask in zip(kept.parts, kept.masks, strict=True):
        if run_id_of_part(part) in open_runs:
            continue
        if len(mask) < _LARGE * kept.rows_per_part:
            small.append((part, mask))
        elif not mask.all():
            shrunk.append((part, mask))
    if len(small) == 1 and small[0][1].all() and _is_sorted(small[0][0]):
        small = []
    with temporary_folder(results.out / TMP if isinstance(results.out, Path) else None) as folder:
        staged = [
            results.stage_part(rows, pruned=pruned)
            for parts in (*([part] for part in shrunk), small)
            for rows in merge_sorted(parts, kept.rows_per_part, folder)
        ]
    old = [part for part, _ in (*small, *shrunk)]
    names_kept = _names_to_keep(results.out, old)
    removed = [part for part in old if part not in names_kept]
    results.place_parts(staged, instead_of=removed)
    results.empty_parts([part for part, mask in (*small, *shrunk) if part in names_kept and len(mask)])


def _names_to_keep(out: Location, parts: Sequence[Location]) -> set[Location]:
    """Return the parts whose names must stay taken: a late worker of their run could create them again.

    That takes a run with several writers, not long ago. In a store of objects, without a lock, every run is one.
    """
    oldest = f"{datetime.now(UTC) - _LATE:%Y%m%dT%H%M%SZ}"
    young = {run_id for part in parts if (run_id := run_id_of_part(part)) > oldest}
    if isinstance(out, Path):
        engines = {record.summary.run_id: record.engine for record in newest_run_records(out)} if young else {}
        young = {run_id for run_id in young if engines.get(run_id, ONE_PROCESS) != ONE_PROCESS}
    return {part for part in parts if run_id_of_part(part) in young}


def _is_sorted(part: Location) -> bool:
    return all(before < after for before, after in pairwise(read_part(part, ["path"])["path"].to_pylist()))


def _read_sizes(parts: Sequence[Location]) -> tuple[npt.NDArray[np.int64], int]:
    """Return the number of rows of each part, and the rows of a new one."""
    metadata = [pq.read_metadata(open_parquet(part)) for part in parts]
    rows = np.array([part.num_rows for part in metadata], np.int64)
    size = sum(part.row_group(group).total_byte_size for part in metadata for group in range(part.num_row_groups))
    return rows, max(1000, _PART_BYTES * int(rows.sum()) // max(1, size))


def _was_pruned(out: Location) -> bool:
    """Tell whether an earlier compaction has dropped the rows of photos gone in the newest run."""
    newest = next(newest_run_records(out), None)
    return newest is not None and was_pruned_since(out, newest.summary.run_id)


def _keep_existing_photos(table: _Table, source: Path) -> _Table:
    if not source.is_dir() or not any(source.iterdir()):  # like an unmounted disk
        raise ConfigError(f"{source}, the input folder, is missing or empty, so nothing was pruned; is it mounted?")
    masks = []
    for part, mask in zip(table.parts, table.masks, strict=True):
        names = read_part(part, ["path", "path_bytes"]).filter(pa.array(mask))
        is_gone = find_gone(source, zip(names["path"].to_pylist(), names["path_bytes"].to_pylist(), strict=True))
        masks.append(mask.copy())
        masks[-1][np.flatnonzero(mask)[is_gone]] = False
    return _Table(table.parts, masks, table.rows_per_part)


def _remove_unnamed_overlays(out: Path) -> int:
    """Remove overlays without a row, and thumbnails without an overlay; return the number of overlays removed."""
    overlays: set[int] = set()  # hashes: names of ten million photos take too much memory
    thumbnails: set[int] = set()
    for part in part_files(out):
        for name in read_part(part, ["overlay"])["overlay"].drop_null().to_pylist():
            overlays.add(hash(fold_name(name)))
            thumbnails.add(hash(fold_name(thumbnail_name(name))))
    _remove_other_files(out, THUMBNAILS, thumbnails)
    return _remove_other_files(out, OVERLAYS, overlays)


def _remove_other_files(out: Path, top: str, kept_names: Set[int]) -> int:
    """Remove the files below a folder but those with these hashes of their folded names.

    Some disks list names in another case or Unicode form, hence folded.
    """
    removed = 0
    for folder, _, files in os.walk(out / top, topdown=False):
        for file in files:
            path = Path(folder, file)
            if hash(fold_name(path.relative_to(out).as_posix())) not in kept_names:
                path.unlink()
                removed += 1
        if not os.listdir(folder) and Path(folder) != out / top:
            os.rmdir(folder)
    return removed
