"""A results folder with reviews -> `LabelledPhoto`s: the fourth layout of labelled data."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import DataError
from pipeline.labelled.good_labels import is_good_label
from pipeline.labelled.splits import LabelledBox, LabelledPhoto
from pipeline.photos.content import hash_file
from pipeline.records import ImageRef
from pipeline.results.input_of_results import input_folder_of_results
from pipeline.results.names import RUNS, TABLE
from pipeline.results.read import read_results
from pipeline.reviews.classes import current_names, read_classes
from pipeline.reviews.read import read_truths
from pipeline.reviews.truth import Truth

log = logging.getLogger(__name__)

SURE_WEIGHT = 0.3  # of a photo under the model's own label
_LabelledRow = tuple[Mapping[str, Any], Truth | None]  # a row of the table, and the truth of a reviewed one
_COLUMNS = ["path", "path_bytes", "content_hash", "file_bytes", "mtime", "status", "label", "score"]


@dataclass(frozen=True)
class ReviewedData:
    """The photos of a results folder with a label. Of copies of a photo, the first path stands for all.

    Attributes:
        photos: with an agreed review.
        sure: without a review, under the label of a model sure enough.
        contents: content hash of each photo, by name.
        root: the input folder, where the names start.
    """

    photos: tuple[LabelledPhoto, ...]
    sure: tuple[LabelledPhoto, ...]
    contents: Mapping[str, str]
    root: Path


def is_results_folder(data: Path) -> bool:
    """Tell a results folder from a folder of classes."""
    return (data / TABLE).is_dir() and (data / RUNS).is_dir()


def find_input_folder(out: Path) -> Path:
    """Return the input folder of a results folder.

    Raises:
        DataError: no run has left its name.
    """
    source = input_folder_of_results(out)
    if source is None:
        raise DataError(
            f"{out}: no run has finished here, so its photos are unknown; run: vitrollout run PHOTOS --out {out}"
        )
    return Path(source)


def read_reviewed_photos(out: Path, least_score: float | None = None) -> ReviewedData:
    """Read the reviewed photos of a results folder, sorted by name; all others are counted in the log.

    Args:
        out: the results folder.
        least_score: take unreviewed photos with this score or more as well; None: don't.

    Raises:
        DataError: nothing is reviewed yet, or no reviewed photo is left.
        StoreError: a file is damaged.
    """
    root = find_input_folder(out)
    truths = read_truths(out)
    if not truths:
        raise DataError(f"{out}: nothing is reviewed yet; decide about some photos first: vitrollout review {out}")
    frame = read_results(out, columns=_COLUMNS)
    left_out = Counter({"replaced by another photo since": _count_stale(frame, truths)})
    labelled = list(_list_labelled(frame, truths, least_score, left_out))
    data = _build_data(_drop_unusable(labelled, root, left_out), root, current_names(read_classes(out)))
    said = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count) or "none"
    if not data.photos:
        raise DataError(
            f"{out}: no reviewed photo is left for training or measuring (left out: {said}); review more photos: "
            f"vitrollout review {out}"
        )
    log.info("%s: %d reviewed photos, left out: %s", out, len(data.photos), said)
    if least_score is not None:
        log.info("%s: %d unreviewed photos with a score of %g or more", out, len(data.sure), least_score)
    return data


def read_class_order(out: Path) -> list[str]:
    """Return the names of the classes in the order of their ids; none without classes.json."""
    return [each.name for each in read_classes(out)]


def _list_labelled(
    frame: pd.DataFrame, truths: Mapping[str, Truth], least_score: float | None, left_out: Counter[str]
) -> Iterator[_LabelledRow]:
    """Yield the rows with a label, the truth of reviewed ones beside them; count the other reviewed ones."""
    rows: list[dict[str, Any]] = frame.astype({"mtime": "int64"}).to_dict("records")  # type: ignore[assignment]
    for row in rows:
        truth = truths.get(row["content_hash"])
        if truth is None:
            is_sure = least_score is not None and row["status"] == "ok" and row["score"] >= least_score
            if not is_sure:
                continue
        elif truth.state != "reviewed" or row["status"] != "ok":
            left_out[truth.state if truth.state != "reviewed" else "unreadable"] += 1
            continue
        yield row, truth


def _drop_unusable(rows: Iterable[_LabelledRow], root: Path, left_out: Counter[str]) -> Iterator[_LabelledRow]:
    """Yield the first row of each content with its file unchanged; count the others that are reviewed."""
    seen: set[str] = set()
    faults: dict[str, str] = {}  # by content; a photo moved elsewhere has none in the end
    for row, truth in rows:
        content_hash = row["content_hash"]
        if problem := _find_fault(_locate(root, row), row):
            faults[content_hash] = problem
        elif content_hash in seen:
            left_out["copies"] += truth is not None
        else:
            seen.add(content_hash)
            yield row, truth
    left_out.update(problem for content_hash, problem in faults.items() if content_hash not in seen)


def _build_data(rows: Iterable[_LabelledRow], root: Path, renamed: Mapping[str, str]) -> ReviewedData:
    photos, sure = list[LabelledPhoto](), list[LabelledPhoto]()
    contents: dict[str, str] = {}
    for row, truth in rows:
        label = row["label"] if truth is None else str(truth.label)
        weight = SURE_WEIGHT if truth is None else 1.0
        boxes = None if truth is None else _read_boxes(truth)
        photo = LabelledPhoto(row["path"], _locate(root, row), renamed.get(label, label), weight, boxes=boxes)
        (sure if truth is None else photos).append(photo)
        contents[photo.name] = row["content_hash"]
    return ReviewedData(tuple(photos), tuple(sure), contents, root)


def _read_boxes(truth: Truth) -> tuple[LabelledBox, ...] | None:
    """Return the boxes of a reviewed photo; None if it may have more defects than boxes."""
    if not truth.boxes_complete and (truth.boxes or not is_good_label(str(truth.label))):
        return None
    return tuple(LabelledBox(box.label, (box.x0, box.y0, box.x1, box.y1)) for box in truth.boxes)


def _locate(root: Path, row: Mapping[str, Any]) -> Path:
    return Path(os.fsdecode(os.path.join(os.fsencode(root), row["path_bytes"] or os.fsencode(row["path"]))))


def _find_fault(file: Path, row: Mapping[str, Any]) -> str | None:
    """Return a reason to leave out a photo whose file is gone or changed, or None.

    A file with the size and time of its row counts as unchanged, as in a run; others are read.
    """
    try:
        status = os.stat(file)
    except OSError:
        return "gone"
    if (status.st_size, status.st_mtime_ns) == (row["file_bytes"], row["mtime"]):
        return None
    content_hash = hash_file(ImageRef(row["path"], None, str(file), status.st_size, status.st_mtime_ns))
    return None if content_hash == row["content_hash"] else "changed since the run"


def _count_stale(frame: pd.DataFrame, truths: Mapping[str, Truth]) -> int:
    """Count reviews of photos replaced by others under the same path."""
    hashes, paths = set(frame["content_hash"].dropna()), set(frame["path"])
    return sum(truth.content_hash not in hashes and truth.path in paths for truth in truths.values())
