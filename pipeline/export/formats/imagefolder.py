"""A folder a class, for torchvision, timm, Hugging Face and Ultralytics."""

import re
from collections import defaultdict

import pyarrow as pa

from pipeline.errors import DataError
from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportDataset
from pipeline.export.folder import ExportFolder
from pipeline.export.formats.hf_features import build_metadata, label_of
from pipeline.photos.left_out import find_folder_rule

SPLIT_FOLDERS = {"train": "train", "validation": "val", "test": "test"}  # the names all of these readers know

USAGE = """\
`train/`, `val/` and `test/`, with a folder for each class.

    torchvision.datasets.ImageFolder("train")
    datasets.load_dataset("imagefolder", data_dir=".")
    yolo classify train data=.
    vitrollout finetune .

ImageFolder and Ultralytics number the classes by the sorted names of their folders, so these ids change with a new
class. The ids below are those of the results folder and never change.
"""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # by Windows
_BOX = pa.struct([("bbox", pa.list_(pa.list_(pa.float32()))), ("category", pa.list_(pa.string()))])
_SCHEMA = pa.schema(
    [
        ("file_name", pa.string()),
        ("label", pa.int64()),
        ("label_name", pa.string()),
        ("path", pa.string()),
        ("content_hash", pa.string()),
        ("group", pa.string()),
        ("reviewed_by", pa.list_(pa.string())),
        ("label_source", pa.string()),
        ("boxes_complete", pa.bool_()),
        ("objects", _BOX),
    ]
)


def check_class_folders(dataset: ExportDataset, config: ExportConfig) -> None:
    """Refuse names of classes impossible as folders on some disk, with a proposal.

    Raises:
        DataError: names them.
    """
    used = {photo.label for photo in dataset.photos}
    names = [name for name in dataset.class_names if name in used]
    by_case: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_case[name.casefold()].append(name)
    clashing = [name for group in by_case.values() if len(group) > 1 for name in group]
    wrong = [name for name in names if name in clashing or not _is_folder_name(name)]
    if wrong:
        proposals = ", ".join(f"{name!r} as {_propose_slug(name, names)!r}" for name in wrong)
        raise DataError(
            f"imagefolder: {', '.join(map(repr, wrong))} can't be the name of a folder everywhere; name it in a CSV "
            f"label,name and give that as --rename ({proposals})"
        )


def write_imagefolder(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write the pictures, and a metadata.parquet for each split."""
    schema = _SCHEMA.with_metadata(build_metadata({"label": label_of(dataset.class_names)}))
    for split, photos in dataset.by_split.items():
        if not photos:
            continue
        parent = SPLIT_FOLDERS[split]
        for photo in photos:
            folder.place_picture(photo, f"{parent}/{photo.label}/{photo.name}")
        rows = [
            {
                "file_name": f"{photo.label}/{photo.name}",
                "label": photo.class_id,
                "label_name": photo.label,
                "path": photo.path,
                "content_hash": photo.content_hash,
                "group": photo.group,
                "reviewed_by": list(photo.who),
                "label_source": photo.source,
                "boxes_complete": photo.boxes_complete,
                "objects": {
                    "bbox": [[box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0] for box in photo.boxes],
                    "category": [box.label for box in photo.boxes],
                },
            }
            for photo in photos
        ]
        folder.write_table(f"{parent}/metadata.parquet", pa.Table.from_pylist(rows, schema))


def _is_folder_name(name: str) -> bool:
    is_plain = name == name.strip() and not name.endswith(".") and find_folder_rule(name) is None
    return is_plain and not re.search(r'[/\\:*?"<>|\x00-\x1f]', name) and not _RESERVED.fullmatch(name)


def _propose_slug(name: str, names: list[str]) -> str:
    slug = re.sub(r"[^\w-]+", "-", name).strip("-._").lower() or "class"
    slug = f"class-{slug}" if _RESERVED.fullmatch(slug) else slug
    taken = {other.casefold() for other in names if other != name}
    return slug if slug.casefold() not in taken else f"{slug}-2"
