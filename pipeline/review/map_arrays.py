"""The maps of a part of the table as arrays, one for each method and size of grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import Floats
from pipeline.review.rows import Integers


@dataclass(frozen=True)
class MethodMaps:
    """Maps of one method with the same number of cells.

    Attributes:
        method: its name.
        rows: (m,), rows of the part.
        maps: (m, cells), raw.
    """

    method: str
    rows: Integers
    maps: Floats


def gather_maps(table: pa.Table) -> list[MethodMaps]:
    """Gather the maps of a table with method, attention and more_maps, those of the main method first."""
    rows = np.arange(len(table))
    methods, main = (table[name].combine_chunks() for name in ("method", "attention"))
    gathered = list(_split_maps(methods, main, rows))
    if "more_maps" in table.column_names:
        more = table["more_maps"].combine_chunks()
        rows = np.repeat(rows, np.diff(more.offsets.to_numpy()))
        gathered += _split_maps(more.keys, more.items, rows)
    return gathered


def pair_maps(gathered: list[MethodMaps]) -> Iterator[tuple[MethodMaps, MethodMaps]]:
    """Yield the maps of each two methods for the rows that have both, in grids of the same size."""
    for one, other in combinations(gathered, 2):
        rows, places, places_of_other = np.intersect1d(one.rows, other.rows, return_indices=True)
        if len(rows) and one.method != other.method and one.maps.shape[1] == other.maps.shape[1]:
            yield (
                MethodMaps(one.method, rows, one.maps[places]),
                MethodMaps(other.method, rows, other.maps[places_of_other]),
            )


def _split_maps(methods: pa.Array, lists: pa.Array, rows: Integers) -> Iterator[MethodMaps]:
    """Split maps by method and number of cells."""
    lengths = pc.list_value_length(lists)
    for method in pc.unique(methods).to_pylist():
        for cells in pc.unique(lengths).drop_null().to_pylist():
            wanted = np.asarray(pc.fill_null(pc.and_(pc.equal(methods, method), pc.equal(lengths, cells)), False))
            if wanted.any():
                chosen = lists if wanted.all() else lists.filter(pa.array(wanted))
                yield MethodMaps(method, rows[wanted], pc.list_flatten(chosen).to_numpy().reshape(-1, cells))
