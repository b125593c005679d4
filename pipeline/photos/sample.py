"""A sample of photos: the same in every run, spread over all folders."""

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from posixpath import dirname

from pipeline.records import ImageRef

_SEED = b"vitrollout"
_SPARE = 10_000  # photos kept beyond twice the sample


class Sampler:
    """Draws a sample from photos that come one by one: one of each folder, then a second one of each, and so on.

    The order within a folder, and of the folders, is drawn from a fixed seed and the paths alone: photos added later
    push few of the chosen ones out. Memory grows with the sample, not with the photos.
    """

    def __init__(self, count: int) -> None:
        """Start without photos.

        Args:
            count: photos to choose at most.
        """
        self._count = count
        self._folders: dict[str, list[tuple[bytes, str]]] = defaultdict(list)
        self._kept = 0

    def add(self, paths: Iterable[str]) -> None:
        """Add photos by their paths."""
        for path in paths:
            self._folders[dirname(path)].append((_draw_rank(path), path))
            self._kept += 1
        if self._kept > 2 * self._count + _SPARE:
            self._drop_rest()

    def chosen(self) -> frozenset[str]:
        """Return the paths of the sample of all photos until now."""
        return frozenset(path for _, _, path in self._find_sample())

    def _find_sample(self) -> list[tuple[int, bytes, str]]:
        return heapq.nsmallest(self._count, self._photos_in_turn())

    def _photos_in_turn(self) -> Iterator[tuple[int, bytes, str]]:
        for photos in self._folders.values():
            photos.sort()
            yield from ((turn, *photo) for turn, photo in enumerate(photos))

    def _drop_rest(self) -> None:
        """Forget the photos outside the sample: those to come only move them further back."""
        sample = self._find_sample()
        self._folders.clear()
        for _, rank, path in sample:
            self._folders[dirname(path)].append((rank, path))
        self._kept = len(sample)


def choose_sample(refs: Iterable[ImageRef], count: int) -> frozenset[str]:
    """Choose the paths of at most `count` photos; see `Sampler`."""
    sampler = Sampler(count)
    sampler.add(ref.path for ref in refs)
    return sampler.chosen()


def _draw_rank(path: str) -> bytes:
    return hashlib.blake2b(path.encode(), digest_size=8, key=_SEED).digest()
