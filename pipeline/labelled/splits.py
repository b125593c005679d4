"""Labelled photos, and their splits: train, validation and test."""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import DataError
from pipeline.labelled.csv_table import SPLITS, list_some
from pipeline.labelled.deal_groups import Shares, count_groups, deal_groups
from pipeline.records import Box

log = logging.getLogger(__name__)

CORNERS = ("x0", "y0", "x1", "y1")  # columns of boxes


@dataclass(frozen=True)
class LabelledBox:
    """A defect in a photo: its class, and its box (x0, y0, x1, y1) in upright pixels."""

    label: str
    box: Box

    @property
    def longer_side(self) -> float:
        """Of width and height, the larger one."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)

    def clip(self, size: tuple[int, int]) -> "LabelledBox | None":
        """Clip it to a photo of this width and height; None if less than a pixel is left."""
        x0, y0, x1, y1 = self.box
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(size[0])), min(y1, float(size[1]))
        return LabelledBox(self.label, (x0, y0, x1, y1)) if min(x1 - x0, y1 - y0) >= 1 else None


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo of a labelled data set.

    Attributes:
        name: path as in the data set, `/` separators; unique in the set.
        file: the file on disk.
        label: name of its class.
        weight: weight in the loss, > 0; an ordinary photo has 1.
        split: "train", "validation", "test", or None if the data set has no splits.
        group: photos of one group stay on one side of a split; None: no groups are asked for.
        boxes: its defects, all of them; None: their places are unknown.
    """

    name: str
    file: Path
    label: str
    weight: float = 1.0
    split: str | None = None
    group: str | None = None
    boxes: tuple[LabelledBox, ...] | None = None


def resolve_split(split: str, existing: Collection[str | None]) -> str:
    """Resolve `auto`: the test split if there is one, or else all photos."""
    return ("test" if "test" in existing else "all") if split == "auto" else split


def labels_of(photos: Iterable[LabelledPhoto]) -> list[str]:
    """Return the class names, sorted; the index of a label is its id."""
    return sorted({photo.label for photo in photos})


def check_known(labels: Iterable[str], known: Sequence[str]) -> None:
    """Refuse labels unknown to a model, and labels of several of its classes.

    Raises:
        DataError: names some of them.
    """
    names, ids = sorted(set(labels)), Counter(known)
    if unknown := [label for label in names if label not in ids]:
        raise DataError(
            f"label: {', '.join(map(repr, unknown[:5]))} of the data is not a class of the model, "
            f"which knows {', '.join(known[:20])}; use a model trained for these labels"
        )
    if ambiguous := [label for label in names if ids[label] > 1]:
        listed = ", ".join(str(index) for index, label in enumerate(known) if label == ambiguous[0])
        raise DataError(
            f"label: the model has {ids[ambiguous[0]]} classes called {ambiguous[0]!r}, ids {listed}, so the data's "
            "can't be told apart; give them different names in id2label of its config.json"
        )


def split_counts(photos: Iterable[LabelledPhoto]) -> dict[str, Counter[str]]:
    """Count photos per split and class, splits in their usual order, without empty splits."""
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for photo in photos:
        if photo.split is not None:
            counts[photo.split][photo.label] += 1
    return {split: per_label for split, per_label in counts.items() if per_label}


def assign_splits(
    photos: Sequence[LabelledPhoto], *, validation_share: float, test_share: float, seed: int
) -> list[LabelledPhoto]:
    """Give each photo a split; splits of the data set are kept.

    Without any, every class is shuffled by itself with `seed` and dealt out by the shares: at least one photo of a
    class goes to train and one to validation. With train and test but no validation, `validation_share` is taken from
    train in the same way. Photos with groups are dealt by whole groups instead, see `deal_groups`.

    Raises:
        DataError: only some photos have a split, or a class has fewer than two photos.
    """
    with_split = sum(photo.split is not None for photo in photos)
    if with_split not in (0, len(photos)):
        raise DataError(f"split: {len(photos) - with_split} of {len(photos)} photos have none; fill in all or none")
    check_class_sizes(photos, labels_of(photos))
    if with_split == 0:
        return _deal_out(photos, {"validation": validation_share, "test": test_share}, seed)
    warn_of_torn_groups(photos)
    if any(photo.split == "validation" for photo in photos):
        return list(photos)
    train = [photo for photo in photos if photo.split == "train"]
    dealt = {photo.name: photo for photo in _deal_out(train, {"validation": validation_share, "test": 0.0}, seed)}
    return [dealt.get(photo.name, photo) for photo in photos]


def warn_of_torn_groups(photos: Iterable[LabelledPhoto]) -> None:
    """Warn of groups on several sides of the data set's own splits."""
    sides: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        if photo.group is not None and photo.split is not None:
            sides[photo.group].add(photo.split)
    if torn := [f"{group!r} ({', '.join(sorted(splits))})" for group, splits in sides.items() if len(splits) > 1]:
        log.warning(
            "%d groups lie on several sides of the data's splits: %s; a model looks too good on them; correct the "
            "splits, or leave them out for splits by --group", len(torn), list_some(torn)
        )  # fmt: skip


def check_class_sizes(photos: Sequence[LabelledPhoto], labels: Sequence[str]) -> None:
    """Refuse fewer than two classes, and classes with fewer than two photos.

    Args:
        photos: the photos of all classes.
        labels: the expected classes.

    Raises:
        DataError: names the classes and their counts.
    """
    if len(labels) < 2:
        raise DataError(f"label: only one class, {labels[0]!r}; a classifier needs two or more")
    counts = Counter(photo.label for photo in photos)
    small = {label: counts[label] for label in labels if counts[label] < 2}
    if small:
        named = list_some(f"{label!r} ({count})" for label, count in small.items())
        raise DataError(f"label: fewer than two photos of {named}; add photos, or merge or drop the class")


def check_splits(photos: Sequence[LabelledPhoto], *, each_class_judged: bool = True) -> None:
    """Refuse an empty train or validation split, and labels confined to one split.

    Args:
        photos: with their splits.
        each_class_judged: False: a label may be confined to train, as a new class of groups dealt long ago.

    Raises:
        DataError: names the split or the labels.
    """
    counts = split_counts(photos)
    for split in ("train", "validation"):
        if split not in counts:
            raise DataError(
                f"split: {split!r} is empty; label photos with it, or leave the column out for an automatic split"
            )
    for label in labels_of(photos):
        splits = [split for split in counts if label in counts[split]]
        if len(splits) == 1 and (each_class_judged or "train" not in splits):
            raise DataError(
                f"label: {label!r} occurs only in the split {splits[0]!r}; "
                "each class must be in train and another split"
            )
        if "train" not in splits:
            raise DataError(f"label: {label!r} does not occur in the split 'train'; it can't be learnt")


def write_split_csv(photos: Sequence[LabelledPhoto], file: Path, *, root: str = "") -> None:
    """Write `path,label,split,root`, one row per photo, in the given order: a CSV for all commands.

    Photos with groups have them in a further column, group. With boxes, there are four more, and a row per box.

    Args:
        photos: the photos.
        file: the CSV.
        root: the way from the CSV's folder to the folder that the names start at; empty: the same.
    """
    rows = [
        (photo.name, box.label if box else photo.label, photo.split or "", root, photo.group or "", *_corners(box))
        for photo in photos
        for box in photo.boxes or (None,)
    ]
    table = pd.DataFrame(rows, columns=["path", "label", "split", "root", "group", *CORNERS])
    if all(photo.group is None for photo in photos):
        del table["group"]
    if all(photo.boxes is None for photo in photos):
        table = table.drop(columns=[*CORNERS])
    table.to_csv(file, index=False, lineterminator="\n")


def _corners(box: LabelledBox | None) -> tuple[str, ...]:
    """Return the cells of a box in a CSV."""
    return tuple(f"{corner:.12g}" for corner in box.box) if box else ("", "", "", "")


def _deal_out(photos: Sequence[LabelledPhoto], shares: Mapping[str, float], seed: int) -> list[LabelledPhoto]:
    if photos and all(photo.group is not None for photo in photos):
        by_group = _deal_out_groups(photos, (1 - sum(shares.values()), shares["validation"], shares["test"]), seed)
        return [replace(photo, split=by_group[photo.group or ""]) for photo in photos]
    split_of: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    for label in labels_of(photos):
        names = sorted(photo.name for photo in photos if photo.label == label)
        order = [names[index] for index in rng.permutation(len(names))]
        start, last = 0, len(names) - 1  # one photo stays in train
        for split, share in shares.items():
            at_least = 1 if split == "validation" else 0
            end = min(last, start + max(at_least, round(len(names) * share)))
            split_of.update(dict.fromkeys(order[start:end], split))
            start = end
    return [replace(photo, split=split_of.get(photo.name, "train")) for photo in photos]


def _deal_out_groups(photos: Sequence[LabelledPhoto], shares: Shares, seed: int) -> dict[str, str]:
    counts = count_groups((photo.group or "" for photo in photos), (photo.label for photo in photos))
    return deal_groups(counts, {}, shares, seed)
