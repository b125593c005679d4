"""Photos with names indistinguishable on some disk, found by hashes: their overlays need other names."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.results.current_rows import Hashes, hash_paths
from pipeline.results.done_index import to_arrow
from pipeline.results.names import fold_name

_CHUNK = 65_536  # paths in memory at once


def find_clashing(paths: pa.ChunkedArray, others: Iterable[pa.ChunkedArray]) -> npt.NDArray[np.bool_]:
    """Mark the paths indistinguishable, on some disk, from another one of them or from one of the others.

    Args:
        paths: of the photos; none occurs twice.
        others: further paths, in portions; those of `paths` may be among them.
    """
    folded = _hash_folded(paths)
    order = np.argsort(folded)
    folded = folded[order]
    is_clashing = np.zeros(len(paths), bool)
    is_repeated = folded[1:] == folded[:-1]
    is_clashing[1:] |= is_repeated
    is_clashing[:-1] |= is_repeated
    names = hash_paths(paths)[order]
    for portion in others if len(paths) else ():
        others_folded = _hash_folded(portion)
        places = np.minimum(np.searchsorted(folded, others_folded), len(folded) - 1)
        alike = np.flatnonzero(folded[places] == others_folded)
        if len(alike):
            others_names = hash_paths(portion.take(to_arrow(alike)))
            places = places[alike]
            is_clashing[places[names[places] != others_names]] = True
    result = np.empty(len(paths), bool)
    result[order] = is_clashing
    return result


def _hash_folded(paths: pa.ChunkedArray) -> Hashes:
    hashes = np.empty(len(paths), np.int64)
    for start in range(0, len(paths), _CHUNK):
        texts = paths.slice(start, _CHUNK).to_pylist()
        hashes[start : start + len(texts)] = np.fromiter(map(hash, map(fold_name, texts)), np.int64, len(texts))
    return hashes.view(np.uint64)
