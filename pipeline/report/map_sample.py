"""The photos drawn on the map of the archive, and their embeddings.

Photos of the gallery only, so that each point can be opened. Embeddings are the widest column: 10 million photos have
15 GB of them. So they are read from a limited number of row groups, a few of these at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from pipeline.decision import without_decision
from pipeline.records import UNFAMILIAR_FROM, Floats
from pipeline.report.part_columns import Integers, Mask
from pipeline.report.table_columns import TableColumns
from pipeline.report.threads import map_in_threads
from pipeline.results.parts import find_filled_rows

MOST_POINTS = 5000
_UNFAMILIAR_SHARE = 0.25  # of the points, at most, before the labels have their turn
_BLOCK = 1024  # rows, about a row group: 1.5 MB of embeddings with 768 values
_MOST_BLOCKS = 256
_BLOCKS_AT_ONCE = 16
_SEED = 0  # the same table has the same map


@dataclass(frozen=True)
class EmbeddedPhotos:
    """Photos with their embeddings.

    Attributes:
        rows: n rows of the table, ascending.
        embeddings: (n, D).
    """

    rows: Integers
    embeddings: Floats


def read_map_photos(columns: TableColumns, rows: Integers) -> EmbeddedPhotos:
    """Choose photos for the map, and read their embeddings; empty without any.

    Args:
        columns: of the table.
        rows: to choose from, ascending.
    """
    rows = rows[~columns.is_failed[rows]]
    rows = rows[_may_be_embedded(columns, rows)]
    chosen = choose_map_rows(columns, rows)
    pieces = [_read_embeddings(columns, piece) for piece in _split_rows(chosen)]
    return _keep_one_model(pd.concat(pieces)) if pieces else EmbeddedPhotos(chosen, np.empty((0, 0), np.float32))


def choose_map_rows(columns: TableColumns, rows: Integers) -> Integers:
    """Choose at most `MOST_POINTS` rows, ascending: unfamiliar photos, and about as many of each label.

    Unfamiliar photos come first, up to a share of the points. The rows come from a limited number of row groups.

    Args:
        columns: of the table.
        rows: to choose from.
    """
    rows = np.random.default_rng(_SEED).permutation(rows)
    is_unfamiliar = columns.unfamiliar[rows] > UNFAMILIAR_FROM
    turn = np.empty(len(rows))  # every fourth is an unfamiliar photo's while there are any; the labels share the rest
    turn[is_unfamiliar] = np.arange(np.count_nonzero(is_unfamiliar)) / _UNFAMILIAR_SHARE
    others = np.argsort(_rank_in_group(columns.label[rows[~is_unfamiliar]]), kind="stable")
    turn[np.flatnonzero(~is_unfamiliar)[others]] = np.arange(len(others)) / (1 - _UNFAMILIAR_SHARE)
    rows = rows[np.argsort(turn, kind="stable")]
    _, first, block = np.unique(rows // _BLOCK, return_index=True, return_inverse=True)
    rank_of_block = np.argsort(np.argsort(first))  # in the order of their first row
    return np.sort(rows[rank_of_block[block] < _MOST_BLOCKS][:MOST_POINTS])


def _rank_in_group(groups: Integers) -> Integers:
    """Number the elements of each group from 0 in their order: a, b, a, a gives 0, 0, 1, 2."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], groups[order])
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - starts
    return ranks


def _may_be_embedded(columns: TableColumns, rows: Integers) -> Mask:
    """Mark the rows of row groups with embeddings: those of parts from before they were asked for have none."""
    starts = [0, *columns.ends.tolist()]
    bounds = np.searchsorted(rows, starts).tolist()
    wanted = [(place, low, high) for place, (low, high) in enumerate(pairwise(bounds)) if low < high]

    def find(item: tuple[int, int, int]) -> Mask:
        place, low, high = item
        return np.asarray(find_filled_rows(columns.parts[place], "embedding")[rows[low:high] - starts[place]])

    result: Mask = np.concatenate([np.empty(0, bool), *map_in_threads(find, wanted, waits=columns.is_remote)])
    return result


def _split_rows(rows: Integers) -> Iterator[Integers]:
    """Yield the rows, ascending, of a few row groups at a time."""
    blocks = np.unique(rows // _BLOCK)[::_BLOCKS_AT_ONCE]
    yield from np.split(rows, np.searchsorted(rows, blocks[1:] * _BLOCK)) if len(rows) else ()


def _read_embeddings(columns: TableColumns, rows: Integers) -> pd.DataFrame:
    frame = columns.read_rows(rows, ["embedding", "fingerprint"]).set_index(rows)
    return frame[frame["embedding"].notna()].astype({"fingerprint": str})


def _keep_one_model(frame: pd.DataFrame) -> EmbeddedPhotos:
    """Keep the photos of the model with the most of them: embeddings of two models have no place on one map."""
    kinds = frame["fingerprint"].map(without_decision) + frame["embedding"].map(len).astype(str)
    frame = frame[kinds == kinds.mode()[0]] if len(frame) else frame
    embeddings = np.array(frame["embedding"].tolist(), np.float32).reshape(len(frame), -1 if len(frame) else 0)
    is_finite = np.isfinite(embeddings).all(axis=1)
    return EmbeddedPhotos(frame.index.to_numpy(np.int64)[is_finite], embeddings[is_finite])
