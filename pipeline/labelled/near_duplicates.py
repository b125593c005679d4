"""Photos that look the same although their bytes differ, on both sides of a split."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.records import Pixels

log = logging.getLogger(__name__)

Hashes = npt.NDArray[np.uint64]

_WITHIN_BITS = 4  # of 64
_CHUNK = 2**22  # pairs compared at once: 32 MB
_EXAMPLES = 3


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of photos that look the same, in different splits and groups.

    Attributes:
        pairs: number of pairs.
        examples: a few of them, as indices of photos.
    """

    pairs: int
    examples: tuple[tuple[int, int], ...]


def difference_hash(photo: Pixels) -> int:
    """Compute the 64-bit difference hash of a photo (h, w, 3): brighter to the right or not, on 8 x 8 places."""
    small = np.asarray(Image.fromarray(photo).convert("L").resize((9, 8), Image.Resampling.BOX))  # (8, 9)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def find_near_duplicates(hashes: Sequence[int], splits: Sequence[str], groups: Sequence[str]) -> NearDuplicates:
    """Find the pairs of photos in different splits and groups with hashes within 4 bits.

    Args:
        hashes: (n,) from `difference_hash`.
        splits: split of each photo.
        groups: group of each photo.
    """
    values = np.array(hashes, np.uint64)
    split_ids = np.unique(np.array(splits, str), return_inverse=True)[1]
    group_ids = np.unique(np.array(groups, str), return_inverse=True)[1]
    order = np.argsort(split_ids, kind="stable")
    values, split_ids, group_ids = values[order], split_ids[order], group_ids[order]
    pairs, examples = 0, list[tuple[int, int]]()
    rows = max(1, _CHUNK // max(1, len(values)))
    for start in range(0, len(values), rows):
        chunk = slice(start, start + rows)
        first_other = int(np.searchsorted(split_ids, split_ids[start], side="right"))  # sorted: others lie behind
        others = slice(first_other, None)
        near = np.bitwise_count(values[chunk, None] ^ values[None, others]) <= _WITHIN_BITS  # (rows, others)
        near &= split_ids[chunk, None] < split_ids[None, others]
        near &= group_ids[chunk, None] != group_ids[None, others]
        pairs += int(near.sum())
        if len(examples) < _EXAMPLES:
            found = np.argwhere(near)[: _EXAMPLES - len(examples)]
            examples += [(int(order[start + row]), int(order[first_other + column])) for row, column in found]
    return NearDuplicates(pairs, tuple(examples))


def warn_of_near_duplicates(found: NearDuplicates, names: Sequence[str]) -> None:
    """Warn of pairs on both sides; names of the photos in the order of the hashes."""
    if found.pairs:
        listed = ", ".join(f"{names[first]} = {names[second]}" for first, second in found.examples)
        log.warning(
            "%d pairs of photos that look the same lie on both sides of a split, such as %s: a model looks too good on "
            "them; look at them, and put families into one group with --group", found.pairs, listed
        )  # fmt: skip
