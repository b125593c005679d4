"""Many small parts -> few large ones: the newest row of each path, sorted by path.

Crash-safe by its order: all new parts are written, then put in place, and only then do the old ones go. Between the
last two steps rows occur twice, for a moment or, after a kill, until the next compaction; whoever takes one row of each
path doesn't notice.
"""

import logging
import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.overlays.writer import thumbnail_name
from pipeline.results.read import newest_rows, part_files, read_part
from pipeline.results.schema import SCHEMA
from pipeline.results.folder import ResultsFolder, input_folder_of_results, report_knows_all

log = logging.getLogger(__name__)

_PART_BYTES = 64 * 2**20  # of a new part before compression; a few times that is needed to make it


@dataclass(frozen=True)
class Compaction:
    """What a compaction did.

    Attributes:
        parts_before, parts: parts of the table.
        rows_before, rows: rows of the table.
        pruned: rows that went because their photo is gone.
        overlays_removed: overlays that no row named.
    """

    parts_before: int
    parts: int
    rows_before: int
    rows: int
    pruned: int = 0
    overlays_removed: int = 0


def compact(
    out: Path,
    *,
    prune: bool = False,
) -> Compaction:
    """Rewrite the table of a results folder; `read_results` can read it at any moment.

    Args:
        out: the results folder.
        prune: also drop rows whose photo is gone, and overlays that no row names.

    Raises:
        ConfigError: it is no results folder, or `prune` finds no input folder to compare with.
        FolderBusyError: a run holds it.
        StoreError: a part is damaged, the disk is full, or the folder can't be written.
    """
    source = input_folder_of_results(out)
    if source is None or not part_files(out):
        raise ConfigError(f"{out} is no results folder with rows in it; name the --out of a run")
    with ResultsFolder(out, Path(source)) as results:
        old, report_knows_them = part_files(out), report_knows_all(out)
        places = _all_places(old)
        rows_before = len(places)
        newest = places.take(newest_rows(places))
        current = _photo_exists(newest, Path(source)) if prune else newest
        chunks = _chunks(current, _rows_per_part(old))
        if not (len(chunks) == len(old) and _has_places(current, rows_before)):
            staged = [results.stage_part(_gather(old, chunk)) for chunk in chunks]
            results.place_parts(staged, instead_of=old)
            if report_knows_them and len(current) == len(newest):
                newest_part = max(part.stat().st_mtime_ns for part in part_files(out))
                os.utime(out / "report.html", ns=(newest_part + 1,) * 2)  # the rows are the ones that it knows
        overlays_removed = _remove_unnamed_overlays(out, part_files(out)) if prune else 0
    return Compaction(len(old), len(chunks), rows_before, len(current), len(newest) - len(current), overlays_removed)


def count_small_parts(out: Path) -> int:
    """How many parts a compaction would merge with others."""
    parts = part_files(out)
    limit = _rows_per_part(parts) / 2
    return sum(pq.read_metadata(part).num_rows < limit for part in parts)


def _all_places(parts: Sequence[Path]) -> pa.Table:
    """Where each row is: columns path, path_bytes, run_id, part (its number) and row."""
    tables = []
    for number, part in enumerate(parts):
        keys = read_part(part, ["path", "path_bytes", "run_id"])
        rows = np.arange(len(keys), dtype=np.int32)
        run_ids = keys["run_id"].cast(pa.string())
        columns = [keys["path"], keys["path_bytes"], run_ids, pa.array(np.full_like(rows, number)), pa.array(rows)]
        tables.append(pa.table(columns, names=["path", "path_bytes", "run_id", "part", "row"]))
    return pa.concat_tables(tables)


def _has_places(ordered: pa.Table, rows: int) -> bool:
    """Whether these are all rows, in the order in which they lie in the parts already."""
    place = ordered["part"].to_numpy().astype(np.int64) * 2**32 + ordered["row"].to_numpy()
    return len(ordered) == rows and bool((np.diff(place) > 0).all())


def _photo_exists(places: pa.Table, source: Path) -> pa.Table:
    if not source.is_dir() or not any(source.iterdir()):  # as where a disk is not mounted
        raise ConfigError(f"{source}, the input folder, is missing or empty; nothing is pruned by it. Is it mounted?")
    root = os.fsencode(source)
    names = zip(places["path"].to_pylist(), places["path_bytes"].to_pylist(), strict=True)
    there = [not _is_gone(os.path.join(root, raw or os.fsencode(path))) for path, raw in names]
    return places.filter(pa.array(there, pa.bool_()))


def _is_gone(file: bytes) -> bool:
    """Only where the system says so: a photo that can't be reached tonight may be there tomorrow."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        log.warning("%s: %s; its row stays", os.fsdecode(file), error.strerror)
    return False


def _rows_per_part(parts: Sequence[Path]) -> int:
    metadata = [pq.read_metadata(part) for part in parts]
    rows: int = sum(one.num_rows for one in metadata)
    size: int = sum(one.row_group(group).total_byte_size for one in metadata for group in range(one.num_row_groups))
    return max(1000, _PART_BYTES * rows // max(1, size))


def _chunks(places: pa.Table, rows: int) -> list[pa.Table]:
    return [places.slice(start, rows) for start in range(0, len(places), rows)]


def _gather(parts: Sequence[Path], places: pa.Table) -> pa.Table:
    """The rows at these places, in their order."""
    numbers, rows = places["part"].to_numpy(), places["row"].to_numpy()
    taken, order = [], []
    for number in np.unique(numbers):
        wanted = np.flatnonzero(numbers == number)
        taken.append(read_part(parts[number]).take(pa.array(rows[wanted])))
        order.append(wanted)
    gathered = pa.concat_tables([SCHEMA.empty_table(), *taken], promote_options="default").unify_dictionaries()
    return gathered.take(pa.array(np.argsort(np.concatenate(order))))


def _remove_unnamed_overlays(out: Path, parts: Sequence[Path]) -> int:
    """Remove overlays that no row names, and thumbnails of none; how many overlays went."""
    overlays = {name for part in parts for name in read_part(part, ["overlay"])["overlay"].to_pylist() if name}
    _remove_other_files(out, "thumbnails", {thumbnail_name(overlay) for overlay in overlays})
    return _remove_other_files(out, "overlays", overlays)


def _remove_other_files(out: Path, top: str, named: Set[str]) -> int:
    removed = 0
    for folder, _, files in os.walk(out / top, topdown=False):
        for file in files:
            path = Path(folder, file)
            if path.relative_to(out).as_posix() not in named:
                path.unlink()
                removed += 1
        if not os.listdir(folder) and Path(folder) != out / top:
            os.rmdir(folder)
    return removed
