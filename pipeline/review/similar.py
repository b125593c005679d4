"""Photos with similar maps: the model looked at nearly the same places."""

from threading import Lock

import numpy as np
import numpy.typing as npt

from pipeline.results.parts import read_part
from pipeline.review.rows import ReviewRows

SIMILAR = 8
_MOST_SIDE = 14  # cells; larger maps are averaged down, so 100,000 maps fit into 40 MB


class SimilarPhotos:
    """Finds rows with similar maps. The first question reads all maps once."""

    def __init__(self, rows: ReviewRows) -> None:
        """Remember the rows; nothing is read yet."""
        self._rows = rows
        self._lock = Lock()
        self._directions: npt.NDArray[np.float16] | None = None

    def find(self, row: int) -> list[int]:
        """Return the most similar other rows, the most similar first; none for a row without a map."""
        with self._lock:
            if self._directions is None:
                self._directions = _read_directions(self._rows)
        directions = self._directions
        wanted = directions[row].astype(np.float32)
        if not wanted.any():
            return []
        step = 8192
        blocks = (
            directions[start : start + step].astype(np.float32) @ wanted for start in range(0, len(directions), step)
        )
        similarity = np.concatenate(list(blocks))
        similarity[row] = -np.inf
        similarity[~directions.any(axis=1)] = -np.inf
        best = np.argsort(-similarity, kind="stable")[:SIMILAR]
        return [int(other) for other in best if np.isfinite(similarity[other])]


def _read_directions(rows: ReviewRows) -> npt.NDArray[np.float16]:
    """Read all maps as directions of length 1, (n, cells); 0 for rows without a map or with a uniform one."""
    row_of = np.full(sum(rows.places.part_rows), -1, np.int64)
    row_of[rows.places.numbers] = np.arange(len(rows))
    directions = np.zeros((len(rows), _MOST_SIDE * _MOST_SIDE), np.float16)
    start = 0
    for part, length in zip(rows.places.parts, rows.places.part_rows, strict=True):
        numbers = row_of[start : start + length]
        start += length
        try:
            table = read_part(part, ["attention", "grid_h", "grid_w"])
        except FileNotFoundError:
            continue  # compacted since the start: its rows are found without a map
        lists = table["attention"].combine_chunks()
        sizes = np.column_stack([table[name].fill_null(0).to_numpy() for name in ("grid_h", "grid_w")]).astype(int)
        values, offsets = lists.values.to_numpy(zero_copy_only=False), lists.offsets.to_numpy()
        for grid_h, grid_w in np.unique(sizes, axis=0).tolist():
            chosen = np.flatnonzero((sizes == (grid_h, grid_w)).all(axis=1) & (numbers >= 0) & (np.diff(offsets) > 0))
            if grid_h and grid_w and len(chosen):
                cells = values[offsets[chosen][:, None] + np.arange(grid_h * grid_w)]
                directions[numbers[chosen]] = _unit_directions(cells.reshape(-1, grid_h, grid_w))
    return directions


def _unit_directions(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Shrink maps to the common grid, clip each at its 98th percentile, subtract its mean, scale to length 1."""
    cells = _resample(_resample(maps, 1), 2).reshape(len(maps), -1)
    top = np.partition(cells, int(cells.shape[1] * 0.98), axis=1)[:, int(cells.shape[1] * 0.98), None]
    cells = np.minimum(cells, np.where(top > cells.min(axis=1, keepdims=True), top, np.inf))
    cells = cells - cells.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(cells, axis=1, keepdims=True)
    directions: npt.NDArray[np.float16] = (cells / np.where(lengths > 0, lengths, 1)).astype(np.float16)
    return directions


def _resample(maps: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Bring one axis to the common side: averaged down from more cells, repeated from fewer."""
    side = maps.shape[axis]
    starts = np.arange(_MOST_SIDE) * side // _MOST_SIDE
    if side <= _MOST_SIDE:
        repeated: npt.NDArray[np.float32] = np.take(maps, starts, axis)
        return repeated
    shape = (-1, 1) if axis == 1 else (-1,)
    means: npt.NDArray[np.float32] = np.add.reduceat(maps, starts, axis) / np.diff(starts, append=side).reshape(shape)
    return means
