"""The label of each photo of a table, by people first, then by a CSV, then by the model if it is sure enough."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import DataError
from pipeline.export.dataset import LabelSource
from pipeline.export.table_rows import ResultRow
from pipeline.reviews.record import ReviewBox
from pipeline.reviews.truth import Truth

NOT_REVIEWED, DISPUTED, LABELS_DIFFER = "not reviewed", "disputed", "copies with different labels"


@dataclass(frozen=True)
class KnownLabel:
    """What is known of one photo.

    Attributes:
        label: the label.
        source: of the label.
        who: the reviewers, in alphabetical order.
        boxes: of the defects.
        boxes_complete: a reviewer said that every defect has its box.
    """

    label: str
    source: LabelSource
    who: tuple[str, ...] = ()
    boxes: tuple[ReviewBox, ...] = ()
    boxes_complete: bool = False


@dataclass(frozen=True)
class LabelledRow:
    """A photo with a known label.

    Attributes:
        row: of the copy that gives it its name and its group: the first readable one.
        copies: rows of all copies of the photo, ordered by path.
        known: the label.
    """

    row: ResultRow
    copies: tuple[ResultRow, ...]
    known: KnownLabel


@dataclass(frozen=True)
class LabelBook:
    """All sources of labels.

    Attributes:
        truths: of reviewed photos, by content hash.
        by_path: labels of a CSV.
        least_score: take the model's label from this score; None: never.
        current: current names of renamed classes by the earlier ones.
    """

    truths: Mapping[str, Truth]
    by_path: Mapping[str, str] = field(default_factory=dict)
    least_score: float | None = None
    current: Mapping[str, str] = field(default_factory=dict)

    def find_label(self, rows: Sequence[ResultRow]) -> KnownLabel | str:
        """Return the label of a photo, or the reason for having none.

        Args:
            rows: of all copies of the photo.
        """
        truth = self.truths.get(rows[0].content_hash or "")
        if truth is not None and truth.label is None:
            return DISPUTED if truth.state == "disputed" else truth.state
        if truth is not None and truth.label is not None:
            who = tuple(sorted(truth.who))
            return KnownLabel(self.rename(truth.label), "review", who, truth.boxes, truth.boxes_complete)
        by_csv = {self.by_path[row.path] for row in rows if row.path in self.by_path}
        if len(by_csv) > 1:
            return LABELS_DIFFER
        if by_csv:
            return KnownLabel(self.rename(by_csv.pop()), "csv")
        sure = rows[0].label is not None and self.least_score is not None and rows[0].score >= self.least_score
        return KnownLabel(self.rename(str(rows[0].label)), "model") if sure else NOT_REVIEWED

    def rename(self, label: str) -> str:
        """Return the current name of a label."""
        return self.current.get(label, label)


def read_label_csv(file: Path, folder: Path) -> dict[str, str]:
    """Read labels by path from a CSV path,label; paths are relative to the input folder.

    Raises:
        DataError: it can't be read, or a row is wrong.
    """
    from pipeline.labelled.csv_table import check_column, read_paths

    table = read_paths(file, folder, "label")
    check_column(file, table["path"], table["label"] == "", "label is empty")
    check_column(file, table["path"], table["path"].duplicated(), "path occurs twice")
    return dict(zip(table["path"], table["label"], strict=True))


def has_label_column(file: Path) -> bool:
    """Tell whether a CSV has labels; one with groups alone needs none.

    Raises:
        DataError: it can't be read.
    """
    from pipeline.labelled.csv_table import read_table

    return "label" in read_table(file, "path")


def read_renames(file: Path) -> dict[str, str]:
    """Read other names for labels from a CSV label,name.

    Raises:
        DataError: it can't be read, or a row is wrong.
    """
    from pipeline.labelled.csv_table import read_table

    table = read_table(file, "label", "name")
    names = {label: name.strip() for label, name in zip(table["label"], table["name"], strict=True)}
    if len(names) < len(table):
        raise DataError(f"{file}: a label occurs twice; keep one row of each")
    if "" in names.values() or "" in names:
        raise DataError(f"{file}: a label or a name is empty; fill it in")
    return names


def group_copies(rows: Sequence[ResultRow]) -> list[list[ResultRow]]:
    """Group the rows by content, each group and all groups ordered by path; rows without a hash stand alone."""
    groups: dict[str, list[ResultRow]] = defaultdict(list)
    for row in rows:
        groups[row.content_hash or f"path:{row.path}"].append(row)
    return list(groups.values())
