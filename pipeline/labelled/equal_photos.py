"""Photos of a labelled data set with the same bytes: on both sides of a split, or under two labels."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.labelled.csv_table import list_some
from pipeline.labelled.read import labelled_ref
from pipeline.labelled.splits import LabelledPhoto
from pipeline.photos.content import hash_file

log = logging.getLogger(__name__)


def warn_of_equal_photos(photos: Sequence[LabelledPhoto]) -> None:
    """Warn of byte-identical photos with different splits, then of those with different labels.

    A model measured on photos of its training looks too good, and one of two labels is wrong. Files are read only if
    another one has their size.
    """
    groups = find_equal_photos(photos)
    _warn_of_differences(
        groups, "in another split", lambda photo: photo.split or "no split", "a model looks too good on them; keep one"
    )
    _warn_of_differences(
        groups, "with another label", lambda photo: photo.label, "correct the labels, or drop the photos"
    )


def find_equal_photos(photos: Iterable[LabelledPhoto]) -> list[list[LabelledPhoto]]:
    """Return the groups of photos with the same bytes, each of two photos or more; unreadable files are in none."""
    by_size: dict[int, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        try:
            by_size[os.stat(photo.file).st_size].append(photo)
        except OSError:  # decoding it will say more
            continue
    candidates = [photo for group in by_size.values() if len(group) > 1 for photo in group]
    with ThreadPoolExecutor() as threads:  # hashing and reading release the interpreter lock
        hashes = threads.map(hash_file, map(labelled_ref, candidates))
        by_hash: dict[str, list[LabelledPhoto]] = defaultdict(list)
        for photo, content_hash in zip(candidates, hashes, strict=True):
            if content_hash is not None:
                by_hash[content_hash].append(photo)
    return [group for group in by_hash.values() if len(group) > 1]


def _warn_of_differences(
    groups: Iterable[Sequence[LabelledPhoto]], where: str, property_of: Callable[[LabelledPhoto], str], advice: str
) -> None:
    differing = [group for group in groups if len({property_of(photo) for photo in group}) > 1]
    if differing:
        examples = list_some(_format_group(group, property_of) for group in differing)
        count = sum(map(len, differing))
        log.warning("%d photos are byte-identical to one %s: %s; %s", count, where, examples, advice)


def _format_group(group: Sequence[LabelledPhoto], property_of: Callable[[LabelledPhoto], str]) -> str:
    """Name one photo for each value of the property: `b/y.png (test) = a/x.png (train)`."""
    first = {property_of(photo): photo.name for photo in reversed(group)}
    return " = ".join(f"{name} ({value})" for value, name in sorted(first.items()))
