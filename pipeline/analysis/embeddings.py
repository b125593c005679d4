"""Photos that look alike to the model, by the cosine between their embeddings.

The embeddings come from `vitrollout run --embeddings`. Photos without one, such as failed ones, are left out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from pipeline.records import Floats
from pipeline.results.read import read_results
from pipeline.storage.location import Location

if TYPE_CHECKING:  # pandas takes half a second to import
    import pandas as pd

Results: TypeAlias = Union[str, Location, "pd.DataFrame"]

_SIMILARITIES_AT_ONCE = 2**23  # in memory
_PAIRS_AT_ONCE = 2**20


def nearest_photos(results: Results, photo: str | Floats, count: int = 10) -> "pd.DataFrame":
    """Find the photos most similar to one.

    Args:
        results: a results folder, or a frame of `read_results` with embedding, and path as a column or as its index.
        photo: the path of one of its photos, which is left out of the answer; or an embedding (D,) of the same model,
            such as `ImagePrediction.features` of another photo.
        count: number of photos; fewer in a small table.

    Returns:
        One row for each photo, the most similar first, with the index of the frame:
        path: of the photo.
        similarity: -1..1, the cosine between the two embeddings.

    Raises:
        ValueError: there are no embeddings, or none of this photo, or they come from different models.
        ConfigError: the folder holds no results.
    """
    rows = _with_embeddings(results)
    directions, paths = _unit_directions(rows), rows["path"].to_numpy()
    is_other = np.ones(len(rows), bool)
    if isinstance(photo, str):
        is_other = paths != photo
        if is_other.all():
            raise ValueError(f"{photo}: is not in this table, or has no embedding")
        wanted = directions[~is_other][0]
    else:
        wanted = _scale_to_length_1(np.asarray(photo, np.float32))
        if wanted.shape != directions.shape[1:]:
            raise ValueError(f"an embedding of this table has the shape {directions.shape[1:]}, not {wanted.shape}")
    similarity = directions @ wanted  # (n,)
    places = np.flatnonzero(is_other)
    order = places[np.argsort(-similarity[places], kind="stable")[:count]]
    return rows[["path"]].iloc[order].assign(similarity=similarity[order].clip(-1, 1))


def near_duplicates(results: Results, threshold: float = 0.995) -> "pd.DataFrame":
    """Find groups of photos that look the same.

    Each photo of a group has a similarity of `threshold` or more with another one of it, so the two ends of a chain may
    be less similar. The time grows with the square of the number of photos, the memory does not.

    Args:
        results: a results folder, or a frame, as of `nearest_photos`, which names the errors too.
        threshold: lowest similarity, the cosine between two embeddings. Its scale depends on the model: look at the
            groups, and choose one.

    Returns:
        One row for each photo in a group, with the index of the frame, the largest group first:
        group: its number, from 0.
        path: of the photo.
        similarity: with the most similar photo of its group.
    """
    rows = _with_embeddings(results)
    groups, similarity = _group_directions(_unit_directions(rows), threshold)
    sizes = np.bincount(groups)[groups]
    found = rows[["path"]].assign(group=groups, size=sizes, similarity=similarity.clip(-1, 1))[sizes > 1]
    found = found.sort_values(["size", "group", "path"], ascending=[False, True, True])
    return found.assign(group=found["group"].factorize()[0])[["group", "path", "similarity"]]


def _with_embeddings(results: Results) -> "pd.DataFrame":
    """Return the rows with an embedding, and their paths; raise ValueError if there is none."""
    import pandas as pd

    frame = results if isinstance(results, pd.DataFrame) else read_results(results, ["path", "embedding"])
    if "embedding" not in frame.columns:
        raise ValueError("the frame has no column embedding; read_results(out, columns=[...]) gives it")
    if "path" not in frame.columns:
        frame = frame.assign(path=frame.index).rename_axis(None)
    rows = frame.loc[frame["embedding"].notna(), ["path", "embedding"]]
    if not len(rows):
        raise ValueError("there are no embeddings in this table; vitrollout run --embeddings writes them")
    return rows


def _unit_directions(rows: "pd.DataFrame") -> Floats:
    """Stack the embeddings, scaled to length 1: (n, D)."""
    if len(widths := set(rows["embedding"].map(len))) > 1:
        raise ValueError(
            f"embeddings of different models can't be compared: {sorted(widths)} values; select the rows of one model"
        )
    return _scale_to_length_1(np.stack(rows["embedding"].to_list()).astype(np.float32))


def _scale_to_length_1(vectors: Floats) -> Floats:
    """Scale vectors (..., D) to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled


def _group_directions(directions: Floats, threshold: float) -> tuple[npt.NDArray[np.intp], Floats]:
    """Join photos with a similar one into groups.

    Args:
        directions: (n, D), of length 1 or 0.
        threshold: lowest similarity of two photos.

    Returns:
        The group of each photo, numbered from 0, and its similarity with its nearest photo, (n,) each; -1 for photos
        without one of at least `threshold`.
    """
    count = len(directions)
    groups, nearest = np.arange(count), np.full(count, -1, np.float32)
    waiting: list[npt.NDArray[np.intp]] = []
    for pairs, similarity in _similar_pairs(directions, threshold):
        for side in pairs:
            np.maximum.at(nearest, side, similarity)
        waiting.append(pairs[:, groups[pairs[0]] != groups[pairs[1]]])
        if sum(known.shape[1] for known in waiting) > _PAIRS_AT_ONCE:
            groups, waiting = _join_groups(groups, waiting), []
    return _join_groups(groups, waiting), nearest


def _similar_pairs(directions: Floats, threshold: float) -> Iterator[tuple[npt.NDArray[np.intp], Floats]]:
    """Yield the pairs of similar photos, (2, m), and their similarity, (m,), a few rows of the matrix at a time."""
    count = len(directions)
    block_rows, few_rows = (max(1, most // count) for most in (_SIMILARITIES_AT_ONCE, _PAIRS_AT_ONCE))
    for start in range(0, count, block_rows):
        block = directions[start : start + block_rows] @ directions[start:].T  # (rows, count - start)
        for row in range(0, len(block), few_rows):
            similarity = block[row : row + few_rows]
            first, second = np.nonzero(np.triu(similarity >= threshold, k=row + 1))
            yield np.stack([first + row, second]) + start, similarity[first, second]


def _join_groups(groups: npt.NDArray[np.intp], pairs: list[npt.NDArray[np.intp]]) -> npt.NDArray[np.intp]:
    """Join the groups of the photos of each pair; return the new group of each photo."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(groups)
    first, second = groups[np.concatenate([np.empty((2, 0), np.intp), *pairs], axis=1)]
    graph = coo_array((np.ones(len(first), bool), (first, second)), (count, count))
    joined: npt.NDArray[np.intp] = connected_components(graph, directed=False)[1][groups]
    return joined
