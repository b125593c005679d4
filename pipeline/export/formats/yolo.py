"""YOLO detection, as Ultralytics reads it."""

import json

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportBox, ExportDataset, ExportPhoto
from pipeline.export.folder import ExportFolder

USAGE = """\
`images/train/`, `images/val/`, `images/test/`, and a text file a picture in `labels/`: a line `class x y width height`
for each box, centre and size as shares of the picture. An empty file: the picture shows no defect. `data.yaml` has no
`path`, so it works from any folder.

    yolo detect train data=data.yaml
"""

_SPLIT_FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def write_yolo(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write pictures, label files and data.yaml."""
    for split, photos in dataset.by_split.items():
        parent = _SPLIT_FOLDERS[split]
        for photo in photos:
            folder.place_picture(photo, f"images/{parent}/{photo.name}")
            stem = photo.name.rpartition(".")[0]
            folder.write_text(f"labels/{parent}/{stem}.txt", "".join(_format_box(box, photo) for box in photo.boxes))
    folder.write_text("data.yaml", _format_yaml(dataset))


def _format_box(box: ExportBox, photo: ExportPhoto) -> str:
    x, width = (box.x0 + box.x1) / 2 / photo.width, (box.x1 - box.x0) / photo.width
    y, height = (box.y0 + box.y1) / 2 / photo.height, (box.y1 - box.y0) / photo.height
    return f"{box.class_id} {x:.6f} {y:.6f} {width:.6f} {height:.6f}\n"


def _format_yaml(dataset: ExportDataset) -> str:
    """Format data.yaml; a string of JSON is one of YAML."""
    splits = [
        f"{_SPLIT_FOLDERS[split]}: images/{_SPLIT_FOLDERS[split]}"
        for split, photos in dataset.by_split.items()
        if photos
    ]
    names = [f"  {each.id}: {json.dumps(each.name, ensure_ascii=False)}" for each in dataset.classes]
    return "\n".join([*splits, f"nc: {len(dataset.classes)}", "names:", *names]) + "\n"
