"""Many small parts -> few large ones: the newest row of each path, sorted by path.

Crash-safe by its order: all new parts are written, then put in place, and only then are the old ones removed. Between
the last two steps rows occur twice, for a moment or, after a kill, until the next compaction. Readers of one row per
path don't notice.
"""

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.results.folder import ResultsFolder, input_folder_of_results, was_pruned_since
from pipeline.results.gone import find_gone
from pipeline.results.names import OVERLAYS, THUMBNAILS, fold_name, part_files, thumbnail_name
from pipeline.results.parts import newest_rows, read_part
from pipeline.results.report_age import date_report_after_compaction, report_knows_all
from pipeline.results.run_record import newest_run_records
from pipeline.results.schema import SCHEMA
from pipeline.reviews.files import review_marks
from pipeline.reviews.fold import fold_sessions

_PART_BYTES = 64 * 2**20  # of a new part before compression; making it takes a few times as much memory


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


def compact(out: str | Path, *, prune: bool = False) -> Compaction:
    """Rewrite the table of a results folder, and fold its ended reviews; both can be read at any moment.

    Args:
        out: the results folder.
        prune: also drop rows of photos no longer there, and overlays without a row.

    Raises:
        ConfigError: it is not a results folder, or `prune` finds no input folder to compare with.
        FolderBusyError: a run holds it.
        StoreError: a part is damaged, the disk is full, or the folder can't be written.
    """
    out = Path(out)
    source = input_folder_of_results(out)
    if source is None or not part_files(out):
        raise ConfigError(f"{out} is not a results folder with rows in it; name the --out of a run")
    with ResultsFolder(out, Path(source)) as results:
        old_parts, reviews, was_current = part_files(out), review_marks(out), report_knows_all(out)
        places = _row_places(old_parts)
        rows_before = len(places)
        newest = places.take(newest_rows(places))
        current = _keep_existing_photos(newest, Path(source)) if prune else newest
        chunks = _split_rows(current, _rows_per_part(old_parts))
        if not (len(chunks) == len(old_parts) and _is_compact(current, rows_before)):
            pruned = prune or _was_pruned(out)
            staged = [results.stage_part(_gather_rows(old_parts, chunk), pruned=pruned) for chunk in chunks]
            results.place_parts(staged, instead_of=old_parts)
        reviews_folded = fold_sessions(out)
        if was_current and len(current) == len(newest):
            date_report_after_compaction(out, reviews)  # it still knows every row
        overlays_removed = _remove_unnamed_overlays(out, part_files(out)) if prune else 0
    return Compaction(
        parts_before=len(old_parts),
        parts=len(chunks),
        rows_before=rows_before,
        rows=len(current),
        pruned=len(newest) - len(current),
        overlays_removed=overlays_removed,
        reviews_folded=reviews_folded,
    )


def count_small_parts(out: Path) -> int:
    """Count the parts a compaction would merge with others."""
    parts = part_files(out)
    limit = _rows_per_part(parts) / 2
    return sum(pq.read_metadata(part).num_rows < limit for part in parts)


def _was_pruned(out: Path) -> bool:
    """Tell whether an earlier compaction has dropped the rows of photos gone in the newest run."""
    newest = next(newest_run_records(out), None)
    return newest is not None and was_pruned_since(out, newest.summary.run_id)


def _row_places(parts: Sequence[Path]) -> pa.Table:
    """List the place of each row: columns path, path_bytes, run_id, part (its number) and row."""
    tables = []
    for number, part in enumerate(parts):
        keys = read_part(part, ["path", "path_bytes", "run_id"])
        rows = np.arange(len(keys), dtype=np.int32)
        run_ids = keys["run_id"].cast(pa.string())
        columns = [keys["path"], keys["path_bytes"], run_ids, pa.array(np.full_like(rows, number)), pa.array(rows)]
        tables.append(pa.table(columns, names=["path", "path_bytes", "run_id", "part", "row"]))
    return pa.concat_tables(tables)


def _is_compact(ordered: pa.Table, rows: int) -> bool:
    """Tell whether these are all rows, in their present order in the parts."""
    place = ordered["part"].to_numpy().astype(np.int64) * 2**32 + ordered["row"].to_numpy()
    return len(ordered) == rows and bool((np.diff(place) > 0).all())


def _keep_existing_photos(places: pa.Table, source: Path) -> pa.Table:
    if not source.is_dir() or not any(source.iterdir()):  # like an unmounted disk
        raise ConfigError(f"{source}, the input folder, is missing or empty, so nothing was pruned; is it mounted?")
    is_gone = find_gone(source, zip(places["path"].to_pylist(), places["path_bytes"].to_pylist(), strict=True))
    return places.filter(pa.array([not gone for gone in is_gone], pa.bool_()))


def _rows_per_part(parts: Sequence[Path]) -> int:
    metadata = [pq.read_metadata(part) for part in parts]
    rows: int = sum(part.num_rows for part in metadata)
    size: int = sum(part.row_group(group).total_byte_size for part in metadata for group in range(part.num_row_groups))
    return max(1000, _PART_BYTES * rows // max(1, size))


def _split_rows(places: pa.Table, rows: int) -> list[pa.Table]:
    return [places.slice(start, rows) for start in range(0, len(places), rows)]


def _gather_rows(parts: Sequence[Path], places: pa.Table) -> pa.Table:
    """Read the rows at these places, in their order."""
    numbers, rows = places["part"].to_numpy(), places["row"].to_numpy()
    taken, order = [], []
    for number in np.unique(numbers):
        in_part = np.flatnonzero(numbers == number)
        taken.append(read_part(parts[number]).take(pa.array(rows[in_part])))
        order.append(in_part)
    gathered = pa.concat_tables([SCHEMA.empty_table(), *taken], promote_options="default").unify_dictionaries()
    return gathered.take(pa.array(np.argsort(np.concatenate(order))))


def _remove_unnamed_overlays(out: Path, parts: Sequence[Path]) -> int:
    """Remove overlays without a row, and thumbnails without an overlay; return the number of overlays removed."""
    overlays = {name for part in parts for name in read_part(part, ["overlay"])["overlay"].to_pylist() if name}
    _remove_other_files(out, THUMBNAILS, {thumbnail_name(overlay) for overlay in overlays})
    return _remove_other_files(out, OVERLAYS, overlays)


def _remove_other_files(out: Path, top: str, kept_files: Set[str]) -> int:
    kept_names = set(map(fold_name, kept_files))  # some disks list names in another case or Unicode form
    removed = 0
    for folder, _, files in os.walk(out / top, topdown=False):
        for file in files:
            path = Path(folder, file)
            if fold_name(path.relative_to(out).as_posix()) not in kept_names:
                path.unlink()
                removed += 1
        if not os.listdir(folder) and Path(folder) != out / top:
            os.rmdir(folder)
    return removed
