"""COCO annotations, one file or a data set's folder with one for each split -> `LabelledPhoto`s with boxes."""

import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.labelled.clean_label import clean_label
from pipeline.labelled.csv_table import SPLITS, list_some, split_name
from pipeline.labelled.good_labels import GOOD_LABELS, is_good_label
from pipeline.labelled.splits import LabelledBox, LabelledPhoto

_USUAL_NAMES = ("*/_annotations.coco.json", "annotations/instances_*.json")  # in the folder of a data set


def find_coco_files(data: Path) -> dict[Path, str | None]:
    """Find the annotation files of a data set, with their splits: a JSON file, or those of a folder; else none."""
    if data.is_file():
        return {data: None} if data.suffix.lower() == ".json" else {}
    files = sorted(file for pattern in _USUAL_NAMES for file in data.glob(pattern))
    return {file: split for file in files if (split := _split_of(file))}


def read_coco(files: dict[Path, str | None], root: Path) -> list[LabelledPhoto]:
    """Read the photos of annotation files; images without an annotation show no defect.

    A photo counts under its most frequent category.

    Args:
        files: with their splits.
        root: the folder where the names of photos start.

    Raises:
        DataError: a file is no such JSON, a picture is missing, or an annotation is no box.
    """
    return [photo for file, split in files.items() for photo in _read_file(file, split, root)]


def find_coco_root(data: Path) -> Path:
    """Return the folder where the names of a data set's photos start."""
    return data if data.is_dir() else data.parent


def _read_file(file: Path, split: str | None, root: Path) -> list[LabelledPhoto]:
    content = _load(file)
    try:
        categories = {each["id"]: clean_label(str(each["name"])) for each in content["categories"]}
        boxes = defaultdict(list)
        for annotation in content["annotations"]:
            boxes[annotation["image_id"]].append(_read_box(annotation, categories, file))
        images = [(str(image["file_name"]), tuple(boxes[image["id"]])) for image in content["images"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file}: is no COCO file of boxes ({type(error).__name__}: {error}); export it again"
        ) from error
    if repeated := [name for name, count in Counter(name for name, _ in images).items() if count > 1]:
        raise DataError(f"{file}: lists {list_some(repeated)} more than once; merge their entries")
    good = next(filter(is_good_label, categories.values()), GOOD_LABELS[0])
    folders = _list_folders(file, split)
    photos = []
    for name, found in images:
        place = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if place is None:
            raise DataError(f"{file}: its picture {name} is not in {', '.join(map(str, folders))}; put it there")
        label = Counter(box.label for box in found).most_common(1)[0][0] if found else good
        path = place.relative_to(root).as_posix() if place.is_relative_to(root) else str(place.resolve())
        photos.append(LabelledPhoto(path, place, label, split=split, boxes=found))
    return photos


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: can't be read as JSON ({error}); give a COCO file, or a CSV") from error


def _read_box(annotation: Any, categories: dict[Any, str], file: Path) -> LabelledBox:
    try:
        x, y, width, height = map(float, annotation["bbox"])
    except (TypeError, ValueError):
        x = y = width = height = math.nan
    if not (math.isfinite(x + y) and 0 < width < math.inf and 0 < height < math.inf):
        raise DataError(
            f"{file}: annotation {annotation.get('id')}: bbox {annotation['bbox']} is no [x, y, width, height]"
        )
    return LabelledBox(categories[annotation["category_id"]], (x, y, x + width, y + height))


def _list_folders(file: Path, split: str | None) -> list[Path]:
    """List where the pictures of a file may be: beside it, or in the folder of its split."""
    parents = [file.parent, file.parent.parent]
    folder = file.stem.removeprefix("instances_")
    return [*parents, *(parent / name for parent in parents for name in ("images", folder)), *(
        parent / "images" / folder for parent in parents
    )]  # fmt: skip


def _split_of(file: Path) -> str | None:
    """Return the split in the name of a file or its folder, such as valid/ or instances_val2017.json; None if none."""
    name = file.parent.name if file.name.startswith("_") else file.stem.removeprefix("instances_")
    split = split_name(name.rstrip("0123456789"))
    return split if split in SPLITS else None
