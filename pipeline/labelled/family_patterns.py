r"""Patterns of file names that explain which photos look alike: `exp1_num_4727.jpg`, `exp2_num_4727.jpg`.

A pattern is a regular expression on the path; photos with the same first capture are a family, as for --group.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.labelled.similar_photos import Ids, Likeness, find_nearest

_WORD, _GAP = r"[^-_. /]+", r"[-_. ]"
_MOST_WORDS = 4
_LEAST_PHOTOS = 20  # with a near-duplicate, to judge patterns by
_LEAST_SCORE = 0.75
_LARGEST_FAMILY = 0.2  # of all photos; larger ones are classes or sites
_LEAST_IN_FAMILIES = 0.3  # of all photos
_PAIRS = 20_000  # drawn to judge the inside of families
_AKIN = 0.5  # of the bar: so alike are siblings in another light, and hardly any strangers


@dataclass(frozen=True)
class Families:
    """The families of n photos by their names.

    Attributes:
        pattern: a regular expression on the path; its first capture names the family.
        ids: (n,) family of each photo.
        score: harmonic mean of two shares, 0..1: of near-duplicates in one family, and of pairs inside families that
            look alike.
    """

    pattern: str
    ids: Ids
    score: float

    @property
    def count(self) -> int:
        """Number of families."""
        return int(self.ids.max(initial=-1)) + 1


def propose_pattern(likeness: Likeness, names: Sequence[str], labels: Sequence[str]) -> Families | None:
    """Propose the pattern of the paths that explains best which photos look alike; None without a good one.

    Args:
        likeness: of the photos.
        names: path of each photo.
        labels: class of each photo.
    """
    everything = np.arange(len(names))
    if len(names) < 2:
        return None
    nearest = find_nearest(likeness, everything, everything)
    near = np.flatnonzero(nearest.cosines >= likeness.least)
    if len(near) < _LEAST_PHOTOS:
        return None
    best: Families | None = None
    for pattern in _list_patterns(names):
        ids = _match_families(pattern, names)
        if ids is None or not _are_families(ids, labels):
            continue
        together = float((ids[near] == ids[nearest.rows[near]]).mean())
        inside = _share_of_kin(likeness, ids)
        score = 2 * together * inside / max(together + inside, 1e-9)
        if score >= _LEAST_SCORE and (best is None or score > best.score + 1e-6):
            best = Families(pattern, ids, score)
    return best


def _list_patterns(names: Sequence[str]) -> Iterator[str]:
    """List patterns, the plain ones first: folders, first words of the file name, its numbers, its last words."""
    yield r"^(.+)/"
    yield r"^([^/]+)/"
    for count in range(1, _MOST_WORDS):
        words = rf"{_WORD}(?:{_GAP}{_WORD}){{{count - 1}}}"
        yield rf"(?:^|/)({words}){_GAP}[^/]*$"
        yield rf"^((?:.*/)?{words}){_GAP}[^/]*$"
    yield r"^(.+)[-_ ][^/]*$"
    yield r"(\d+)[^/\d]*\.[^./]*$"
    for number in range(_MOST_WORDS - 1):
        yield rf"(?:^|/)[^/\d]*(?:\d+[^/\d]+){{{number}}}(\d+)[^/]*$"
    for count in range(1, _MOST_WORDS):
        yield rf"(?:^|/)(?:{_WORD}{_GAP}){{{count}}}([^/]+)\.[^./]*$"


def _match_families(pattern: str, names: Sequence[str]) -> Ids | None:
    """Number the families of all photos; None if the pattern misses one."""
    compiled = re.compile(pattern)
    matches = [compiled.search(name) for name in names]
    captured = [match[1] for match in matches if match and match[1]]
    if len(captured) < len(names):
        return None
    ids: Ids = np.unique(np.array(captured, str), return_inverse=True)[1]
    return ids


def _are_families(ids: Ids, labels: Sequence[str]) -> bool:
    """Tell whether many photos are in families of two or more, none a large part of the data, and not the classes."""
    sizes = np.bincount(ids)
    largest = max(2, _LARGEST_FAMILY * len(ids))
    is_in_family = sizes[ids] > 1
    classes = Counter(zip(ids.tolist(), labels, strict=True))
    are_classes = len(classes) == len(sizes) == len(set(labels))
    return bool(is_in_family.mean() > _LEAST_IN_FAMILIES and sizes.max() <= largest and not are_classes)


def _share_of_kin(likeness: Likeness, ids: Ids) -> float:
    """Estimate the share of alike pairs among all pairs of one family, each photo drawn equally often."""
    order = np.argsort(ids, kind="stable")
    sizes = np.bincount(ids)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    places = np.argsort(order)  # of each photo in `order`
    rng = np.random.default_rng(0)
    rows = rng.choice(np.flatnonzero(sizes[ids] > 1), _PAIRS)
    family = ids[rows]
    steps = rng.integers(1, sizes[family])
    mates = order[starts[family] + (places[rows] - starts[family] + steps) % sizes[family]]
    cosines = np.einsum("ij,ij->i", likeness.vectors[rows], likeness.vectors[mates])
    return float((cosines >= _AKIN * likeness.least).mean())
