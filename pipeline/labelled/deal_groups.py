"""Dealing whole groups of photos to splits, so that each class comes close to its shares."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.labelled.csv_table import SPLITS
from pipeline.records import Doubles

Shares = tuple[float, float, float]  # train, validation, test; they add up to 1
DEFAULT_SHARES: Shares = (0.7, 0.15, 0.15)

_NEEDED = ("train", "validation")  # splits that need every class


def count_groups(groups: Iterable[str], labels: Iterable[str]) -> dict[str, Counter[str]]:
    """Count the photos of each group by class; group and label of each photo are given in the same order."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        counts[group][label] += 1
    return dict(counts)


def deal_groups(
    counts: Mapping[str, Mapping[str, int]], existing: Mapping[str, str], shares: Shares, seed: int
) -> dict[str, str]:
    """Choose a split for each new group; groups with a split are not asked.

    The largest group is dealt first, equal ones in the order of a hash of seed and name. Each goes to the split that
    brings the classes nearest to their shares of all photos, old and new. The last groups of a class go where it is
    missing: to train, and to validation if that has a share.

    Args:
        counts: photos of every group by class, groups with a split included.
        existing: splits of groups, also of groups without photos now.
        shares: of train, validation and test.
        seed: of the order.

    Returns:
        Splits of the new groups.
    """
    dealer = _Dealer(counts, [group for group in counts if group not in existing], shares)
    for group, split in existing.items():
        if group in counts:
            dealer.put(group, SPLITS.index(split))
    dealt = {}
    for group in sorted(dealer.waiting, key=lambda group: (-sum(counts[group].values()), _draw_rank(seed, group))):
        chosen = dealer.choose_split(group)
        dealer.put(group, chosen)
        dealt[group] = SPLITS[chosen]
    return dealt


@dataclass
class _Dealer:
    """The photos of each split so far.

    Attributes:
        counts: photos of every group by class.
        waiting: groups without a split.
        shares: of the splits.
    """

    counts: Mapping[str, Mapping[str, int]]
    waiting: Sequence[str]
    shares: Shares
    _ids: dict[str, int] = field(init=False)
    _dealt: Doubles = field(init=False)  # (splits, classes), photos
    _targets: Doubles = field(init=False)  # (splits, classes), photos
    _scale: Doubles = field(init=False)  # (classes,), photos
    _groups_left: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        totals: Counter[str] = Counter()
        for per_label in self.counts.values():
            totals.update(per_label)
        self._ids = {label: index for index, label in enumerate(sorted(totals))}
        self._scale = np.array([totals[label] for label in self._ids], float)
        self._targets = np.outer(self.shares, self._scale)
        self._dealt = np.zeros_like(self._targets)
        self._groups_left = Counter(label for group in self.waiting for label in self.counts[group])

    def put(self, group: str, split: int) -> None:
        """Add the photos of a group to a split."""
        ids, photos = self._photos_of(group)
        self._dealt[split, ids] += photos

    def choose_split(self, group: str) -> int:
        """Choose the split of the next group."""
        ids, photos = self._photos_of(group)
        missing = self._targets[:, ids] - self._dealt[:, ids]  # (splits, classes of the group)
        # how much nearer the squared distance to the targets comes, each class by its own size
        gains = (photos * (2 * missing - photos) / self._scale[ids]).sum(axis=1)  # (splits,)
        allowed = self._find_splits_in_need(group) or [index for index, share in enumerate(self.shares) if share > 0]
        self._groups_left.subtract(self.counts[group].keys())
        return max(allowed, key=lambda split: (gains[split], -split))

    def _photos_of(self, group: str) -> tuple[list[int], Doubles]:
        per_label = self.counts[group]
        return [self._ids[label] for label in per_label], np.array(list(per_label.values()), float)

    def _find_splits_in_need(self, group: str) -> list[int]:
        """Find the splits with no other chance for a class of this group."""
        found: set[int] = set()
        for label in self.counts[group]:
            needed = [SPLITS.index(split) for split in _NEEDED if self.shares[SPLITS.index(split)] > 0]
            lacking = [split for split in needed if not self._dealt[split, self._ids[label]]]
            if self._groups_left[label] <= len(lacking):
                found.update(lacking)
        return sorted(found)


def _draw_rank(seed: int, group: str) -> bytes:
    return hashlib.blake2b(group.encode(), digest_size=8, key=str(seed).encode()).digest()
