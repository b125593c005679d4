"""Maps of single rows, read from the table when somebody looks at them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import StoreError, one_line
from pipeline.records import Box, Floats
from pipeline.results.parts import concatenate_parts, newest_rows
from pipeline.review.rows import ReviewRows, RowPlaces, read_parts

_COLUMNS = ["path", "run_id", "attention", "more_maps", "grid_h", "grid_w", "map_box", "method"]
_ROWS_KEPT = 32


@dataclass(frozen=True)
class RowMaps:
    """The maps of one photo.

    Attributes:
        method: of the main map.
        maps: by method, the main one first, (grid_h, grid_w) each, raw.
        box: the part of the photo under the maps, in upright pixels.
    """

    method: str
    maps: Mapping[str, Floats]
    box: Box


class MapReader:
    """Reads maps by row number, also after a compaction has moved the rows to other parts."""

    def __init__(self, rows: ReviewRows) -> None:
        """Remember the rows; nothing is read yet."""
        self._rows = rows
        self._places = rows.places
        self.read = lru_cache(_ROWS_KEPT)(self._read)

    def _read(self, row: int) -> RowMaps | None:
        """Read the maps of a row; None for a row replaced by a later run, or without a map.

        Raises:
            StoreError: a part is damaged.
        """
        while True:
            try:
                values = self._read_values(row)
                break
            except FileNotFoundError:  # compacted meanwhile
                self._places = _find_places(self._rows)
        if values is None or values["attention"] is None or not values["grid_h"]:
            return None
        grid = values["grid_h"], values["grid_w"]
        named = [(values["method"], values["attention"]), *(values["more_maps"] or ())]
        maps = {
            name: np.asarray(cells, np.float32).reshape(grid)
            for name, cells in named
            if cells is not None and len(cells) == grid[0] * grid[1]
        }
        x0, y0, x1, y1 = values["map_box"]
        return RowMaps(values["method"], maps, (x0, y0, x1, y1)) if maps else None

    def _read_values(self, row: int) -> dict[str, Any] | None:
        part, number = self._places.find(row)
        try:
            with pq.ParquetFile(part) as file:
                names = [name for name in _COLUMNS if name in file.schema_arrow.names]
                for group in range(file.num_row_groups):
                    length = file.metadata.row_group(group).num_rows
                    if number < length:
                        values = file.read_row_group(group, columns=names).slice(number, 1).to_pylist()[0]
                        break
                    number -= length
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{part} can't be read: {one_line(error)}; run vitrollout run with --repair") from error
        is_same = all(values[name] == self._rows.value(name, row) for name in ("path", "run_id"))
        return {**dict.fromkeys(_COLUMNS), **values} if is_same else None


def _find_places(rows: ReviewRows) -> RowPlaces:
    """Find the rows in the table as it is now."""
    parts, tables = read_parts(rows.out, ["path", "run_id"])
    table = concatenate_parts(tables, ["path", "run_id"])
    newest = newest_rows(table)
    found = pc.index_in(rows.table["path"].combine_chunks(), table["path"].take(newest).combine_chunks())
    numbers = newest.take(found.fill_null(0)).to_numpy().astype(np.int64)  # other rows are told apart by their path
    return RowPlaces(tuple(parts), tuple(map(len, tables)), numbers)
