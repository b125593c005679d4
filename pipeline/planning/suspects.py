"""Photos with another mtime than in their row: their content tells whether they have changed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from pipeline.photos.content import hash_file
from pipeline.planning.plan_schema import refs_of_plan
from pipeline.records import ImageRef
from pipeline.results.done_index import DoneIndex
from pipeline.storage.location import Location


def compare_content(
    index: DoneIndex, suspects: pa.Table, source: Location | str
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Hash photos and compare them with their rows, part by part.

    Args:
        index: of the table.
        suspects: columns of `PLAN_SCHEMA`, and row: the number of the current row.
        source: the input.

    Yields:
        The suspects with the content of their row, and those with other content or out of reach.
    """
    suspects = suspects.sort_by("row")
    with ThreadPoolExecutor() as threads:  # hashing and reading release the interpreter lock
        for place, rows in index.read_rows(suspects["row"].to_numpy(), ["content_hash"]):
            portion = suspects.slice(place.start, len(rows))
            found = threads.map(_hash_regular_file, refs_of_plan(portion, source))
            pairs = zip(found, rows["content_hash"].to_pylist(), strict=True)
            is_same = np.array([content is not None and content == known for content, known in pairs])
            yield portion.filter(pa.array(is_same)), portion.filter(pa.array(~is_same))


def _hash_regular_file(ref: ImageRef) -> str | None:
    return None if ref.problem else hash_file(ref)  # a pipe would wait for a writer
