"""A results folder -> a data set: labels, splits and names of its photos, and a reason for each one left out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.dataset.reviewed import find_input_folder
from pipeline.errors import DataError
from pipeline.export.class_table import ClassTable, choose_classes
from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportBox, ExportDataset, ExportPhoto, Origin, TableRow
from pipeline.export.known_labels import (
    KnownLabel,
    LabelBook,
    LabelledRow,
    group_copies,
    has_label_column,
    read_label_csv,
)
from pipeline.export.picture_names import name_pictures
from pipeline.export.plain_header import PlainHeader, read_plain_header
from pipeline.export.split_photos import PhotoSplit, split_photos
from pipeline.export.table_rows import ResultRow, find_fault, read_rows
from pipeline.labelled.csv_table import SPLITS
from pipeline.reviews.classes import current_names, read_classes
from pipeline.reviews.read import read_review_table
from pipeline.reviews.record import ReviewBox
from pipeline.reviews.truth import resolve_truths

NOT_SELECTED = "label not selected"
FAULTS = frozenset({"gone", "changed", "unreadable"})
_NEXT_STEP = "review photos first, or give labels: --labels labels.csv"


@dataclass(frozen=True)
class _Picture:
    """A readable copy of a photo, and its header if it is plain."""

    row: ResultRow
    header: PlainHeader | None


class _LeftOut:
    """Reason and detail of each row left out, by path."""

    def __init__(self) -> None:
        self.reasons: dict[str, tuple[str, str | None]] = {}

    def add(self, copies: Sequence[ResultRow], reason: str, detail: str | None = None) -> None:
        """Leave all copies of a photo out."""
        self.reasons.update(dict.fromkeys((row.path for row in copies), (reason, detail)))


def gather_dataset(config: ExportConfig) -> ExportDataset:
    """Gather the photos of a results folder with a known label.

    New classes and the splits of new groups are added to the results folder.

    Raises:
        ConfigError: nobody has named a rule for groups, or a label of the settings is unknown.
        DataError: there is nothing to export, or a file of the settings is wrong.
        StoreError: the results folder can't be read or written.
    """
    reviews = read_review_table(config.results)
    rows = read_rows(config.results)
    left_out = _LeftOut()

    # 1. labels and classes
    labelled = _find_labels(rows, _read_labels(config, reviews), left_out)
    known = {row.path: photo.known for photo in labelled for row in photo.copies}
    table = choose_classes(config, rows, labelled)
    labelled = _select_classes(labelled, table, left_out)

    # 2. files and splits
    pictures = _find_pictures(labelled, left_out)
    found = ((photo, pictures.get(str(photo.row.content_hash))) for photo in labelled)
    labelled = [replace(photo, row=picture.row) for photo, picture in found if picture]
    if not labelled:
        raise DataError(f"{config.results}: nothing to export ({_count_reasons(left_out)}); {_NEXT_STEP}")
    plan, splits = split_photos(config, labelled)

    return ExportDataset(
        photos=_build_photos(labelled, pictures, splits, table),
        classes=table.classes,
        rows=tuple(_list_rows(rows, known, left_out)),
        origin=Origin(
            group=plan.rule.text,
            shares=plan.shares,
            runs=tuple(sorted({photo.row.run_id for photo in labelled})),
            fingerprints=tuple(sorted({photo.row.fingerprint for photo in labelled})),
            newest_review=reviews["id"][-1].as_py() if len(reviews) else None,
        ),
    )


def _read_labels(config: ExportConfig, reviews: pa.Table) -> LabelBook:
    renamed = current_names(read_classes(config.results))
    has_labels = config.labels is not None and has_label_column(config.labels)
    by_path = read_label_csv(config.labels, find_input_folder(config.results)) if config.labels and has_labels else {}
    return LabelBook(resolve_truths(reviews, renamed), by_path, config.also, renamed)


def _find_labels(rows: Sequence[ResultRow], book: LabelBook, left_out: _LeftOut) -> list[LabelledRow]:
    """Find the photos with a known label, ordered by path."""
    labelled = []
    for copies in group_copies(rows):
        known = book.find_label(copies)
        if isinstance(known, str):
            left_out.add(copies, known)
            continue
        labelled.append(LabelledRow(copies[0], tuple(copies), known))
    return labelled


def _select_classes(photos: Sequence[LabelledRow], table: ClassTable, left_out: _LeftOut) -> list[LabelledRow]:
    selected = []
    for photo in photos:
        if table.find_class(photo.known.label) is None:
            left_out.add(photo.copies, NOT_SELECTED, photo.known.label)
        else:
            selected.append(photo)
    return selected


def _find_pictures(photos: Sequence[LabelledRow], left_out: _LeftOut) -> dict[str, _Picture]:
    """Find the first readable copy of each photo, by content hash."""
    pictures = {}
    for photo in photos:
        faults = []
        for row in photo.copies:
            found = _look_at(row)
            if isinstance(found, _Picture):
                pictures[str(row.content_hash)] = found
                break
            faults.append(found)
        else:
            left_out.add(photo.copies, *faults[0])
    return pictures


def _look_at(row: ResultRow) -> _Picture | tuple[str, str | None]:
    """Look at a photo and its header; return reason and detail of a fault."""
    fault = find_fault(row)
    if fault is not None:
        return fault
    try:
        return _Picture(row, read_plain_header(row.file))
    except OSError as error:
        return "unreadable", error.strerror


def _build_photos(
    photos: Sequence[LabelledRow], pictures: Mapping[str, _Picture], splits: Mapping[str, PhotoSplit], table: ClassTable
) -> tuple[ExportPhoto, ...]:
    """Build the photos of the data set, in its order."""
    headers = [pictures[str(photo.row.content_hash)].header for photo in photos]
    extensions = [header.extension if header else ".png" for header in headers]
    keys = [(photo.row.path, str(photo.row.content_hash), ext) for photo, ext in zip(photos, extensions, strict=True)]
    built = [
        _build_photo(photo, header, splits[photo.row.path], table, name)
        for photo, header, name in zip(photos, headers, name_pictures(keys), strict=True)
    ]
    return tuple(sorted(built, key=lambda photo: (SPLITS.index(photo.split), photo.name)))


def _build_photo(
    photo: LabelledRow, header: PlainHeader | None, split: PhotoSplit, table: ClassTable, name: str
) -> ExportPhoto:
    row, known = photo.row, photo.known
    own_class = table.find_class(known.label)
    assert own_class is not None, "photos with other labels are left out before"
    width, height = (header.width, header.height) if header else (row.width, row.height)
    boxes = tuple(filter(None, (_build_box(box, (width, height), table) for box in known.boxes)))
    is_good = table.is_good(known.label)
    return ExportPhoto(
        path=row.path,
        content_hash=str(row.content_hash),
        file=row.file,
        name=name,
        split=split.split,
        group=split.group,
        label=own_class.name,
        class_id=own_class.id,
        is_good=is_good,
        boxes=boxes,
        boxes_complete=(known.boxes_complete and bool(known.boxes)) or (is_good and not known.boxes),
        width=width,
        height=height,
        who=known.who,
        source=known.source,
        is_plain=header is not None,
        score=row.score,
        fingerprint=row.fingerprint,
    )


def _build_box(box: ReviewBox, size: tuple[int, int], table: ClassTable) -> ExportBox | None:
    """Clip a box to the photo; None for one with nothing left, or with a label not selected."""
    own_class = table.find_class(box.label)
    x0, x1 = (min(max(value, 0.0), float(size[0])) for value in (box.x0, box.x1))
    y0, y1 = (min(max(value, 0.0), float(size[1])) for value in (box.y0, box.y1))
    if own_class is None or x0 >= x1 or y0 >= y1:
        return None
    return ExportBox(x0, y0, x1, y1, own_class.name, own_class.id, box.note)


def _list_rows(rows: Sequence[ResultRow], known: Mapping[str, KnownLabel], left_out: _LeftOut) -> Iterator[TableRow]:
    """List all rows of the table with their fate."""
    for row in rows:
        label, who = (known[row.path].label, known[row.path].who) if row.path in known else (None, ())
        reason, detail = left_out.reasons.get(row.path, (None, None))
        yield TableRow(row.path, row.content_hash, label, who, reason, detail)


def _count_reasons(left_out: _LeftOut) -> str:
    counts = Counter(reason for reason, _ in left_out.reasons.values())
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common()) or "its table is empty"
