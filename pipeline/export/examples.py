"""Examples for vision-language models: a question about a picture and its answer, one line of JSON each."""

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.errors import DataError
from pipeline.export.dataset import ExportBox, ExportDataset, ExportPhoto
from pipeline.export.folder import ExportFolder

ANNOTATIONS_FILE = "annotations.jsonl"
SPLIT_FOLDERS = {"train": "train", "validation": "valid", "test": "test"}


def order_boxes(boxes: Sequence[ExportBox]) -> list[ExportBox]:
    """Return boxes by class, then from top to bottom, then from left to right: one right answer a photo."""
    return sorted(boxes, key=lambda box: (box.class_id, box.y0, box.x0, box.y1, box.x1))


def list_defect_names(dataset: ExportDataset) -> list[str]:
    """List the classes a model is asked for, in the order of their ids: all but those of good photos."""
    good = {photo.label for photo in dataset.photos if photo.is_good}
    boxed = {box.label for photo in dataset.photos for box in photo.boxes}
    return [name for name in dataset.class_names if name in boxed or name not in good]


def write_prefix_suffix(
    dataset: ExportDataset, folder: ExportFolder, build_example: Callable[[ExportPhoto], tuple[str, str]]
) -> None:
    """Write a folder a split, pictures beside their annotations.jsonl; readers expect all three, empty or not.

    Args:
        dataset: the photos.
        folder: for the files.
        build_example: returns the question about a photo and its answer.
    """
    for split, photos in dataset.by_split.items():
        lines = []
        for photo in photos:
            folder.place_picture(photo, f"{SPLIT_FOLDERS[split]}/{photo.name}")
            prefix, suffix = build_example(photo)
            lines.append({"image": photo.name, "prefix": prefix, "suffix": suffix})
        folder.write_json_lines(f"{SPLIT_FOLDERS[split]}/{ANNOTATIONS_FILE}", lines)


def write_conversations(
    dataset: ExportDataset, folder: ExportFolder, build_line: Callable[[ExportPhoto, str], dict[str, Any]]
) -> None:
    """Write train.jsonl, validation.jsonl and test.jsonl beside a folder of pictures; a split without photos has none.

    Args:
        dataset: the photos.
        folder: for the files.
        build_line: returns the line for a photo and its picture.
    """
    for split, photos in dataset.by_split.items():
        lines = []
        for photo in photos:
            picture = f"images/{photo.name}"
            folder.place_picture(photo, picture)
            lines.append(build_line(photo, picture))
        if lines:
            folder.write_json_lines(f"{split}.jsonl", lines)


def refuse_labels(form: str, dataset: ExportDataset, describe: Callable[[str], str | None]) -> None:
    """Refuse labels of boxes a format can't hold.

    Args:
        form: name of the format.
        dataset: the photos.
        describe: says why a label can't be held; None if it can.

    Raises:
        DataError: names them all, each with its reason.
    """
    boxed = {box.label for photo in dataset.photos for box in photo.boxes}
    reasons = {name: describe(name) for name in dataset.class_names if name in boxed}
    wrong = [f"{name!r} {reason}" for name, reason in reasons.items() if reason]
    if wrong:
        raise DataError(
            f"{form}: can't hold {len(wrong)} of {len(reasons)} labels: {'; '.join(wrong)}; give them other names in a "
            "CSV label,name and name that as --rename"
        )
