"""A data set on its way out: photos with their truth, split and new name, the same for every format."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from pipeline.labelled.csv_table import SPLITS

LabelSource = Literal["review", "csv", "model"]
Window = tuple[int, int, int, int]  # x0, y0, x1, y1 in upright pixels; x1 and y1 are the first outside


@dataclass(frozen=True)
class ExportBox:
    """A box around a defect, in upright pixels of the exported picture.

    Attributes:
        x0, y0: its first pixel.
        x1, y1: the first pixel outside.
        label: of the defect.
        class_id: id of the label.
        note: a reviewer's remark, or None.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    label: str
    class_id: int
    note: str | None = None


@dataclass(frozen=True)
class ExportPhoto:
    """One picture of a data set. Photos with the same bytes are one.

    Attributes:
        path: of the photo in the results folder; of its reviewed copy, if there are several.
        content_hash: of the photo.
        file: the photo, for opening.
        name: of the picture in the data set, without a folder; unique.
        split: train, validation or test.
        group: photos of one group are in one split.
        label: of the photo.
        class_id: id of the label.
        is_good: the label means "no defect".
        boxes: of the defects.
        boxes_complete: every defect has its box; a good photo has none.
        width, height: upright pixels of the picture.
        who: the reviewers, in alphabetical order; empty without a review.
        source: of the label.
        is_plain: the file is an upright 8-bit JPEG or PNG and is taken byte for byte; any other is decoded.
        window: the part of the photo shown by the picture; None: all of it. Parts are never plain.
        score: of the model's answer.
        fingerprint: of the row with the model's answer.
    """

    path: str
    content_hash: str
    file: str
    name: str
    split: str
    group: str
    label: str
    class_id: int
    is_good: bool
    boxes: tuple[ExportBox, ...]
    boxes_complete: bool
    width: int
    height: int
    who: tuple[str, ...]
    source: LabelSource
    is_plain: bool
    window: Window | None = None
    score: float = 0.0
    fingerprint: str = ""


@dataclass(frozen=True)
class ExportClass:
    """A class: its id, from 0, and its name. Ids never move: new classes come after the old ones."""

    id: int
    name: str


@dataclass(frozen=True)
class TableRow:
    """One row of the results folder's table, for the manifest.

    Attributes:
        path, content_hash: of the photo.
        label: its true one, if known.
        who: its reviewers.
        left_out: the reason in a word or two, the same words for all photos with it; None for an exported photo.
        detail: more about the reason, or None.
    """

    path: str
    content_hash: str | None
    label: str | None = None
    who: tuple[str, ...] = ()
    left_out: str | None = None
    detail: str | None = None

    def leave_out(self, reason: tuple[str, str | None] | None) -> "TableRow":
        """Return the row with reason and detail, if any are given; an earlier reason stays."""
        if reason is None or self.left_out is not None:
            return self
        return replace(self, left_out=reason[0], detail=reason[1])


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from.

    Attributes:
        group: the rule for groups, as given by the user.
        shares: of train, validation and test.
        runs: ids of the runs behind the rows of its photos.
        fingerprints: of these runs.
        newest_review: id of the newest record, or None.
    """

    group: str
    shares: tuple[float, float, float]
    runs: tuple[str, ...]
    fingerprints: tuple[str, ...]
    newest_review: str | None = None


@dataclass(frozen=True)
class ExportDataset:
    """A data set.

    Attributes:
        photos: ordered by split, then by name.
        classes: ordered by id.
        rows: of the whole table, ordered by path.
        origin: the results folder's runs, reviews and splits behind it.
    """

    photos: tuple[ExportPhoto, ...]
    classes: tuple[ExportClass, ...]
    rows: tuple[TableRow, ...]
    origin: Origin

    @cached_property
    def by_split(self) -> dict[str, list[ExportPhoto]]:
        """Photos of train, validation and test, in this order; a split may be empty."""
        found: dict[str, list[ExportPhoto]] = {split: [] for split in SPLITS}
        for photo in self.photos:
            found[photo.split].append(photo)
        return found

    @property
    def class_names(self) -> list[str]:
        """Names of the classes by id."""
        return [each.name for each in self.classes]

    @property
    def box_count(self) -> int:
        """Number of boxes."""
        return sum(len(photo.boxes) for photo in self.photos)

    def count_photos(self) -> dict[str, dict[str, int]]:
        """Count photos by split and label, labels in the order of their ids."""
        counts = {split: Counter(photo.label for photo in photos) for split, photos in self.by_split.items()}
        return {
            split: {name: per_label[name] for name in self.class_names if per_label[name]}
            for split, per_label in counts.items()
        }

    def count_left_out(self) -> dict[str, int]:
        """Count the rows left out by reason, most frequent first."""
        reasons = Counter(row.left_out for row in self.rows if row.left_out)
        return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))

    def leave_out(self, reasons: Mapping[str, tuple[str, str | None]]) -> "ExportDataset":
        """Return the data set without some photos.

        Args:
            reasons: reason and detail by content hash, see `TableRow`.
        """
        if not reasons:
            return self
        rows = (row.leave_out(reasons.get(row.content_hash or "")) for row in self.rows)
        photos = (photo for photo in self.photos if photo.content_hash not in reasons)
        return replace(self, photos=tuple(photos), rows=tuple(rows))

    def leave_out_pictures(self, names: Collection[str], reason: str) -> "ExportDataset":
        """Return the data set without some pictures; a photo without any picture left is left out for the reason."""
        kept = tuple(photo for photo in self.photos if photo.name not in names)
        gone = {photo.content_hash for photo in self.photos} - {photo.content_hash for photo in kept}
        return replace(self, photos=kept).leave_out(dict.fromkeys(gone, (reason, None)))
