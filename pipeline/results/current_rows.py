"""The newest row of each path, found part by part: memory grows with the number of rows, not with their length."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.results.parts import read_part
from pipeline.storage.location import Location

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_CHUNK = 65_536  # texts in memory at once


def hash_paths(paths: pa.Array | pa.ChunkedArray) -> Hashes:
    """Hash texts to 64 bits, by Python's own keyed hash: equal within one process, so never to be stored.

    Two of 10 million paths share a hash with a probability of 3 in a million. Another process has another key.
    """
    hashes = np.empty(len(paths), np.int64)
    for start in range(0, len(paths), _CHUNK):
        texts = paths.slice(start, _CHUNK).to_pylist()
        hashes[start : start + len(texts)] = np.fromiter(map(hash, texts), np.int64, len(texts))
    return hashes.view(np.uint64)


def find_current_rows(parts: Sequence[Location]) -> list[Mask]:
    """Find the newest row of each path: the largest run_id, and among equal ones the last part and row.

    By the run alone: compacting moves rows between parts, and clocks jump, but run ids don't.

    Args:
        parts: of one table, in the order of their commit; parts without rows are fine.

    Returns:
        For each part, the mask of its current rows.

    Raises:
        FileNotFoundError: a part is gone; a compaction has put its rows into other parts.
        StoreError: a part is damaged.
    """
    hashes, runs, lengths = [], [], []
    run_ids: dict[str, int] = {}
    for part in parts:
        keys = read_part(part, ["path", "run_id"])
        hashes.append(hash_paths(keys["path"]))
        runs.append(number_texts(keys["run_id"], run_ids))
        lengths.append(len(keys))
    if not lengths:
        return []
    is_current = find_newest(np.concatenate(hashes), np.concatenate(runs), rank_texts(run_ids))
    return np.split(is_current, np.cumsum(lengths)[:-1])


def number_texts(column: pa.ChunkedArray, numbers: dict[str, int]) -> npt.NDArray[np.int32]:
    """Number the texts of a column in the order of their first appearance; new ones are added to `numbers`."""
    encoded = column.cast(pa.string()).dictionary_encode().unify_dictionaries()
    result = np.empty(len(column), np.int32)
    start = 0
    for chunk in encoded.chunks:
        # from_dlpack, because to_numpy imports pandas: half a second for a run with nothing to do
        number_of = [numbers.setdefault(text, len(numbers)) for text in chunk.dictionary.to_pylist()]
        result[start : start + len(chunk)] = np.array(number_of, np.int32)[np.from_dlpack(chunk.indices)]
        start += len(chunk)
    return result


def rank_texts(numbers: dict[str, int]) -> npt.NDArray[np.int32]:
    """Return for each number of `number_texts` the place of its text in sorted order."""
    ranks = np.empty(len(numbers), np.int32)
    for rank, text in enumerate(sorted(numbers)):
        ranks[numbers[text]] = rank
    return ranks


def find_newest(hashes: Hashes, runs: npt.NDArray[np.int32], rank_of_run: npt.NDArray[np.int32]) -> Mask:
    """Mark the newest row of each hash; `rank_of_run` orders the numbers in `runs`."""
    is_current = np.ones(len(hashes), bool)
    order = np.argsort(hashes)
    ordered = hashes[order]
    is_repeated = np.zeros(len(hashes), bool)
    np.equal(ordered[1:], ordered[:-1], out=is_repeated[1:])
    is_repeated[:-1] |= is_repeated[1:]
    repeated = order[is_repeated]  # few rows of most tables have been replaced
    del order, ordered, is_repeated
    repeated = repeated[np.lexsort((repeated, rank_of_run[runs[repeated]], hashes[repeated]))]
    is_replaced = hashes[repeated[:-1]] == hashes[repeated[1:]]
    is_current[repeated[:-1][is_replaced]] = False
    return is_current
