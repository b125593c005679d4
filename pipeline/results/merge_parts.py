"""Rows of many parts -> few sorted by path, in bounded memory: split into ranges of paths, then range by range."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.current_rows import Mask
from pipeline.results.parts import read_part
from pipeline.results.schema import SCHEMA
from pipeline.storage.location import Location

_SAMPLES_PER_RANGE = 64  # paths looked at for the borders of a range

MaskedPart = tuple[Location, Mask]


def merge_sorted(parts: Sequence[MaskedPart], rows_per_part: int, folder: Path) -> Iterator[pa.Table]:
    """Yield the selected rows of some parts, sorted by path, in tables of `rows_per_part` rows.

    A few such tables are in memory at once, whatever the number of rows.

    Args:
        parts: each with the mask of the rows to take.
        rows_per_part: rows of a table; the last one may have fewer.
        folder: for temporary files, as large as the parts together.
    """
    total = sum(int(mask.sum()) for _, mask in parts)
    borders = _choose_borders(parts, -(-total // rows_per_part))
    if not borders:
        tables: Iterator[pa.Table] = iter([_join([_read_selected(part) for part in parts])])
    else:
        tables = _split_into_ranges(parts, borders, rows_per_part, folder)
    rest = SCHEMA.empty_table()
    for table in tables:
        rest = _join([rest, table.take(pc.sort_indices(table["path"]))])
        while len(rest) >= rows_per_part:
            yield rest.slice(0, rows_per_part)
            rest = rest.slice(rows_per_part)
    if len(rest):
        yield rest


def _choose_borders(parts: Sequence[MaskedPart], ranges: int) -> list[str]:
    """Choose the paths between ranges of about equally many rows, from a sample of all paths."""
    if ranges < 2:
        return []
    total = sum(int(mask.sum()) for _, mask in parts)
    step = max(1, total // (ranges * _SAMPLES_PER_RANGE))
    sample: list[str] = []
    seen = 0
    for part, mask in parts:
        rows = np.flatnonzero(mask)
        taken = rows[(-seen) % step :: step]
        seen += len(rows)
        if len(taken):
            sample += read_part(part, ["path"])["path"].take(pa.array(taken)).to_pylist()
    sample.sort()
    return [sample[len(sample) * number // ranges] for number in range(1, ranges)]


def _split_into_ranges(
    parts: Sequence[MaskedPart], borders: Sequence[str], rows: int, folder: Path
) -> Iterator[pa.Table]:
    """Write the rows of each range of paths to a file, then yield the ranges one by one, in their order."""
    files = [folder / f"range-{number}.arrow" for number in range(len(borders) + 1)]
    try:
        with ExitStack() as opened:
            writers = [opened.enter_context(pa.ipc.new_stream(str(file), SCHEMA)) for file in files]
            for table in _gather(parts, rows):
                numbers = np.fromiter((bisect_right(borders, path) for path in table["path"].to_pylist()), np.int64)
                order = np.argsort(numbers, kind="stable")
                ends = np.cumsum(np.bincount(numbers, minlength=len(files)))
                table = table.take(pa.array(order))
                for number, end in enumerate(ends):
                    start = ends[number - 1] if number else 0
                    if end > start:
                        writers[number].write_table(table.slice(start, end - start))
        for file in files:
            with pa.ipc.open_stream(str(file)) as stream:
                yield stream.read_all().unify_dictionaries()
            file.unlink()
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _gather(parts: Sequence[MaskedPart], rows: int) -> Iterator[pa.Table]:
    """Yield the selected rows of the parts in tables of some `rows` rows."""
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(_read_selected(part))
        if sum(map(len, waiting)) >= rows:
            yield _join(waiting)
            waiting = []
    if waiting:
        yield _join(waiting)


def _read_selected(part: MaskedPart) -> pa.Table:
    location, mask = part
    return read_part(location).filter(pa.array(mask))


def _join(tables: Sequence[pa.Table]) -> pa.Table:
    """Join tables of parts; columns missing from old parts are null."""
    joined = pa.concat_tables([SCHEMA.empty_table(), *tables], promote_options="default")
    return joined.unify_dictionaries().combine_chunks()
