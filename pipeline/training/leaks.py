"""Siblings on both sides of a split: photos of the same object in the same view, found by the features of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.labelled.csv_table import SPLITS
from pipeline.labelled.family_patterns import Families, propose_pattern
from pipeline.labelled.similar_photos import Ids, Likeness, compare_photos, find_nearest

_FEWEST_PHOTOS = 100  # fewer can't tell siblings from photos of one kind
_LARGEST_SHARE = 0.2  # of held-out photos; photos of one kind alone reach half of this
_EXAMPLES = 3


@dataclass(frozen=True)
class Leak:
    """Held-out photos with a sibling among the training photos.

    Attributes:
        shares: share of the photos of validation and test with a near-duplicate, or a member of the same family by
            `pattern`, in training; 0..1. Empty for fewer than 100 photos.
        pattern: a regular expression on the path that explains the families; None: none found.
        families: number of families by `pattern`.
        examples: a few pairs of names, a held-out photo and its sibling.
        has_groups: the photos were dealt by groups.
    """

    shares: Mapping[str, float]
    pattern: str | None = None
    families: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    has_groups: bool = False

    @property
    def is_serious(self) -> bool:
        """True if the figures of this training are too good."""
        return max(self.shares.values(), default=0.0) >= _LARGEST_SHARE

    @property
    def sentence(self) -> str:
        """The share in words, with its consequence; empty if it is usual."""
        if not self.is_serious:
            return ""
        split = max(self.shares, key=lambda name: (self.shares[name] >= _LARGEST_SHARE, name == "test"))
        return (
            f"{self.shares[split]:.0%} of the {split} photos have a near-duplicate in training; these figures are too "
            "good"
        )

    @property
    def advice(self) -> str:
        """The option that keeps families on one side; empty if there is nothing to say."""
        if not self.is_serious:
            return ""
        if self.pattern is not None:
            return f"train with --group '{self.pattern}': {self.families} families by their names"
        if self.has_groups:
            return "the groups tear families; look at the pairs, or train with --group similar"
        return "train with --group similar, or name the families yourself: --group 'REGEX' or column:NAME"

    def describe(self) -> str:
        """Put sentence, examples and advice into one line; empty if there is nothing to say."""
        if not self.is_serious:
            return ""
        listed = ", ".join(f"{name} ~ {sibling}" for name, sibling in self.examples)
        return f"{self.sentence} ({listed}); {self.advice}" if listed else f"{self.sentence}; {self.advice}"

    def as_json(self) -> dict[str, object]:
        """Convert to plain values for JSON and the model card."""
        return {
            "near_duplicates_in_training": {split: round(share, 4) for split, share in self.shares.items()},
            "sentence": self.sentence,
            "advice": self.advice,
            "pattern": self.pattern,
        }


def measure_leak(
    features: npt.NDArray[np.floating],
    labels: Sequence[str],
    splits: Sequence[str],
    names: Sequence[str],
    groups: Sequence[str | None],
) -> Leak:
    """Measure whether siblings lie on both sides.

    Args:
        features: (n, D), as the head of a classifier reads them.
        labels: class of each photo; a pattern that names the classes is not one of families.
        splits: split of each photo.
        names: path of each photo.
        groups: group of each photo, None without --group.
    """
    parts = {split: np.flatnonzero(np.asarray(splits, str) == split) for split in SPLITS}
    if len(features) < _FEWEST_PHOTOS or not len(parts["train"]):
        return Leak({})
    likeness = compare_photos(features)
    families = propose_pattern(likeness, names, labels)
    siblings = {
        split: _find_siblings(likeness, rows, parts["train"], families)
        for split, rows in parts.items()
        if split != "train" and len(rows)
    }
    held_out = next((split for split in ("test", "validation") if split in siblings), None)
    pairs = _list_examples(parts[held_out], siblings[held_out], names) if held_out else ()
    return Leak(
        shares={split: float((found >= 0).mean()) for split, found in siblings.items()},
        pattern=families.pattern if families else None,
        families=families.count if families else 0,
        examples=pairs,
        has_groups=any(group is not None for group in groups),
    )


def _find_siblings(likeness: Likeness, rows: Ids, train: Ids, families: Families | None) -> Ids:
    """Find a sibling in training for each of `rows`, -1 without one: a near-duplicate, or of its family by name."""
    nearest = find_nearest(likeness, rows, train)
    found = np.where(nearest.cosines >= likeness.least, nearest.rows, -1)
    if families is not None:
        members = dict(zip(families.ids[train].tolist(), train.tolist(), strict=True))
        named = np.array([members.get(family, -1) for family in families.ids[rows].tolist()])
        found = np.where(found >= 0, found, named)
    return found


def _list_examples(rows: Ids, siblings: Ids, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    chosen = np.flatnonzero(siblings >= 0)[:_EXAMPLES]
    return tuple((names[rows[index]], names[siblings[index]]) for index in chosen)
