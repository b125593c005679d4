"""A sample of photos: the same in every run, spread over all folders."""

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable
from posixpath import dirname

from pipeline.records import ImageRef

_SEED = b"vitrollout"


def choose_sample(refs: Iterable[ImageRef], count: int) -> frozenset[str]:
    """Choose the paths of at most `count` photos: one of each folder, then a second one of each, and so on.

    The order within a folder, and of the folders, is drawn from a fixed seed and the paths alone: photos added later
    push few of the chosen ones out.
    """
    folders: dict[str, list[tuple[bytes, str]]] = defaultdict(list)
    for ref in refs:
        folders[dirname(ref.path)].append((_draw_rank(ref.path), ref.path))
    in_turn = ((turn, *photo) for photos in folders.values() for turn, photo in enumerate(sorted(photos)))
    return frozenset(path for _, _, path in heapq.nsmallest(count, in_turn))


def _draw_rank(path: str) -> bytes:
    return hashlib.blake2b(path.encode(), digest_size=8, key=_SEED).digest()
