"""Photos of the same object in the same view, by the features of a model, and clusters of them.

features -> centred, whitened, unit vectors -> neighbours, in chunks -> clusters by average linkage

Of the solar cells of one module, of windows of one board, all pairs look alike to a model; siblings stand out only
against the variation inside the data. So the features are whitened, and a bar on the cosine means the same everywhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.labelled.splits import LabelledPhoto
from pipeline.records import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Ids = npt.NDArray[np.int64]

_MOST_DIRECTIONS = 128
_FEWEST_DIRECTIONS = 10
_PHOTOS_PER_DIRECTION = 4  # fewer photos leave directions of noise, in which even siblings differ
_LEAST_COSINE = 0.7
_BEYOND_CHANCE = 4.5  # standard deviations of the cosine of unrelated vectors, 1 / sqrt(directions)
_MOST_COSINE = 0.95
_LINK_COSINE, _LINK_BEYOND_CHANCE = 0.455, 3.9
_CHUNK = 2**24  # cosines at once: 64 MB
_NEIGHBOURS = 5  # of one photo in a component; larger families hang together through each other
_BLOCK = 2000  # photos for one dendrogram: 16 MB of distances


@dataclass(frozen=True)
class Likeness:
    """The photos of a data set as unit vectors: the cosine of two is their likeness.

    Attributes:
        vectors: (n, K) float32, whitened; zeros for a photo equal to the mean.
        least: cosine from which two photos show the same object in the same view.
        link: mean cosine inside a cluster, lower: a sibling missed costs more than a stranger caught.
    """

    vectors: Floats
    least: float
    link: float


@dataclass(frozen=True)
class Nearest:
    """The photo most like each of n photos.

    Attributes:
        rows: (n,) its index.
        cosines: (n,) the likeness to it.
    """

    rows: Ids
    cosines: Floats


def compare_photos(features: npt.NDArray[np.floating]) -> Likeness:
    """Whiten the features of all photos of a data set, (n, D): at most 128 directions, one for each four photos.

    The bar is a cosine of 0.7, or more for few photos: 4.5 standard deviations of chance, at most 0.95.
    """
    centred = np.asarray(features, np.float32) - np.mean(features, axis=0, dtype=np.float64).astype(np.float32)
    covariance = (centred.T @ centred).astype(np.float64) / max(1, len(centred))  # (D, D)
    variances, directions = np.linalg.eigh(covariance)
    wanted = int(np.clip(len(centred) // _PHOTOS_PER_DIRECTION, _FEWEST_DIRECTIONS, _MOST_DIRECTIONS))
    kept = [int(index) for index in np.argsort(-variances)[:wanted] if variances[index] > 1e-9 * variances.max()]
    vectors = centred @ (directions[:, kept] / np.sqrt(variances[kept])).astype(np.float32)  # (n, K)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    least, link = (
        float(np.clip(deviations / np.sqrt(max(1, len(kept))), bar, _MOST_COSINE))
        for deviations, bar in ((_BEYOND_CHANCE, _LEAST_COSINE), (_LINK_BEYOND_CHANCE, _LINK_COSINE))
    )
    return Likeness(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), least, link)


def find_nearest(likeness: Likeness, rows: Ids, others: Ids) -> Nearest:
    """Find for each of `rows` the most similar photo among `others`, at least one and never the photo itself."""
    nearest, cosines = np.zeros(len(rows), np.int64), np.full(len(rows), -1, np.float32)
    for chunk, likes in _compare_in_chunks(likeness, rows, others):
        likes[rows[chunk, None] == others[None]] = -1
        best = likes.argmax(axis=1)
        nearest[chunk], cosines[chunk] = others[best], likes[np.arange(len(best)), best]
    return Nearest(nearest, cosines)


def cluster_similar(features: npt.NDArray[np.floating]) -> Ids:
    """Cluster photos of the same object in the same view; return the group of each photo (n,), numbered from 0.

    Mutual neighbours make components, and average linkage (Sokal & Michener 1958) cuts the chains in each: photos of
    a group are alike on average, not just from one to the next. Components over 2,000 photos are first
    halved along their widest direction. Memory grows with the photos, not with their pairs.

    Args:
        features: (n, D), as the head of a classifier reads them.
    """
    from scipy.sparse.csgraph import connected_components

    likeness = compare_photos(features)
    components = connected_components(_link_neighbours(likeness), directed=False)[1]
    groups = np.zeros(len(features), np.int64)
    order = np.argsort(components, kind="stable")
    count = 0
    for members in np.split(order, np.flatnonzero(np.diff(components[order])) + 1):
        for block in _halve(likeness, members):
            found = _cut_chains(likeness, block)
            groups[block] = found + count
            count += int(found.max(initial=-1)) + 1
    return groups


def set_similar_groups(photos: Sequence[LabelledPhoto], features: npt.NDArray[np.floating]) -> list[LabelledPhoto]:
    """Set the group of each photo to its cluster, for `--group similar`; features (n, D) in the order of the photos."""
    groups = name_groups(cluster_similar(features), [photo.name for photo in photos])
    return [replace(photo, group=group) for photo, group in zip(photos, groups, strict=True)]


def name_groups(groups: Ids, names: Sequence[str]) -> list[str]:
    """Name each photo's group after its first photo."""
    first: dict[int, str] = {}
    return [first.setdefault(int(group), name) for group, name in zip(groups, names, strict=True)]


def _compare_in_chunks(likeness: Likeness, rows: Ids, others: Ids) -> Iterator[tuple[slice, Floats]]:
    """Yield slices of `rows` and their cosines (chunk, len(others))."""
    step = max(1, _CHUNK // max(1, len(others)))
    columns = likeness.vectors[others].T
    for start in range(0, len(rows), step):
        chunk = slice(start, start + step)
        yield chunk, likeness.vectors[rows[chunk]] @ columns


def _link_neighbours(likeness: Likeness) -> "csr_array":
    """Link photos over the bar that are among the nearest five of each other: a sparse matrix (n, n)."""
    from scipy.sparse import csr_array

    count = len(likeness.vectors)
    everything = np.arange(count)
    starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for chunk, likes in _compare_in_chunks(likeness, everything, everything):
        most = min(_NEIGHBOURS + 1, count)  # with the photo itself
        nearest = np.argpartition(-likes, most - 1, axis=1)[:, :most]
        row, column = np.nonzero(np.take_along_axis(likes, nearest, axis=1) >= likeness.link)
        starts.append(everything[chunk][row])
        ends.append(nearest[row, column])
    start, end = np.concatenate(starts), np.concatenate(ends)
    links = csr_array((np.ones(len(start), np.int8), (start, end)), (count, count))
    return links.multiply(links.T)


def _halve(likeness: Likeness, members: Ids) -> Iterator[Ids]:
    """Halve a component along its widest direction until each part is small enough for a dendrogram."""
    if len(members) <= _BLOCK:
        yield members
        return
    vectors = likeness.vectors[members] - likeness.vectors[members].mean(axis=0)
    widest = np.linalg.eigh(vectors.T @ vectors)[1][:, -1]
    order = members[np.argsort(vectors @ widest, kind="stable")]
    for half in np.array_split(order, 2):
        yield from _halve(likeness, half)


def _cut_chains(likeness: Likeness, members: Ids) -> Ids:
    """Cluster the photos of one component, (m,) -> (m,) numbered from 0."""
    if len(members) == 1:
        return np.zeros(1, np.int64)
    from scipy.cluster.hierarchy import average, fcluster
    from scipy.spatial.distance import pdist

    vectors = likeness.vectors[members].astype(np.float64)
    squares = pdist(vectors, "sqeuclidean")  # of unit vectors: 2 - 2 cosine
    found: Ids = fcluster(average(squares / 2), 1 - likeness.link, "distance").astype(np.int64)
    return found - 1
