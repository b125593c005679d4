"""Everything that only some orders of the queue need, read from the disk when they ask for it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.records import Floats
from pipeline.results.names import part_files
from pipeline.results.parts import read_part
from pipeline.review.held_out import find_test_photos, find_training_photos
from pipeline.review.rows import Flags, Integers, ReviewRows
from pipeline.reviews.files import REVIEWS, SPLITS_FILE
from pipeline.storage.location import Location


@dataclass(frozen=True)
class QueueSource:
    """Reads for the rows of a results folder.

    Attributes:
        rows: the rows.
        labels: a CSV path,label, or None.
    """

    rows: ReviewRows
    labels: Path | None = None

    @cached_property
    def is_test(self) -> Flags:
        """Photos of groups in the test split of splits.csv."""
        return find_test_photos(self.rows, self.rows.out / REVIEWS / SPLITS_FILE, self.labels)

    @cached_property
    def is_trained_on(self) -> Flags:
        """Photos used for the training of the model behind their row."""
        return find_training_photos(self.rows)

    def read_given_labels(self) -> tuple[Integers, list[str]]:
        """Read the CSV of labels: rows, and a label for each; a photo may have several.

        Raises:
            DataError: it can't be read, lacks a column, or names none of the photos.
        """
        from pipeline.labelled.csv_paths import match_names, name_csv_path
        from pipeline.labelled.csv_table import read_table  # imports pandas

        assert self.labels is not None
        table = read_table(self.labels, "path", "label")
        folder = self.rows.source or self.labels.parent
        row_of = {path: row for row, path in enumerate(self.rows.table["path"].to_pylist())}
        # most are spelled as in the table
        names = [path if path in row_of else name_csv_path(path, folder) for path in table["path"].tolist()]
        row_of = match_names(row_of, names)
        given = [(row_of[name], label) for name, label in zip(names, table["label"], strict=True) if name in row_of]
        if not given:
            raise DataError(
                f"{self.labels}: names no photo of the table; give paths as in the table, relative to {folder}"
            )
        return np.array([row for row, _ in given], np.int64), [label for _, label in given]

    def read_maps(self, rows: Integers) -> list[Floats | None]:
        """Read the maps of a few rows; None for a row without one, or moved to another part meanwhile."""
        maps: list[Floats | None] = [None] * len(rows)
        by_part: dict[Location, list[tuple[int, int]]] = defaultdict(list)
        for place, row in enumerate(rows.tolist()):
            part, number = self.rows.places.find(row)
            by_part[part].append((place, number))
        for part, found in by_part.items():
            with suppress(FileNotFoundError):
                column = read_part(part, ["attention"])["attention"]
                cells = column.take(pa.array([number for _, number in found])).combine_chunks()
                for (place, _), values in zip(found, cells, strict=True):
                    maps[place] = values.values.to_numpy() if values.is_valid else None
        return maps

    def read_parts(self, columns: Sequence[str]) -> Iterator[tuple[Integers, pa.Table]]:
        """Read columns part by part: numbers of rows, and a table with these rows; columns of old parts may be missing.

        After a compaction meanwhile, rows come once more.
        """
        while True:
            try:
                for part in part_files(self.rows.out):
                    table = read_part(part, ["path", "run_id", *columns])
                    numbers, is_current = self._find_rows(table)
                    if len(numbers):
                        yield numbers, table.filter(is_current)
                return
            except FileNotFoundError:
                continue  # compacted meanwhile

    def _find_rows(self, table: pa.Table) -> tuple[Integers, pa.Array]:
        """Find the rows with the same path and run as those of a part, and tell which of the part's they are."""
        places = pc.index_in(table["path"].combine_chunks(), self.rows.table["path"].combine_chunks())
        run_ids = self.rows.table["run_id"].cast(pa.string()).take(places)
        is_current = pc.fill_null(pc.equal(run_ids, table["run_id"].cast(pa.string())), False)
        is_current = pa.chunked_array(is_current.chunks if isinstance(is_current, pa.ChunkedArray) else [is_current])
        numbers: Integers = places.filter(is_current.combine_chunks()).to_numpy().astype(np.int64)
        return numbers, is_current
