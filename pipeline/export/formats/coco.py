"""COCO detection, for pycocotools, RF-DETR, CVAT, FiftyOne, Roboflow and many more."""

from collections.abc import Sequence
from typing import Any

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportDataset, ExportPhoto
from pipeline.export.folder import ExportFolder

USAGE = """\
`train/`, `valid/` and `test/`, each with its pictures and `_annotations.coco.json`; with `--layout coco2017`
`train2017/`, `val2017/`, `test2017/` and `annotations/instances_train2017.json` and so on. A category's id is the id of
the class below plus 1, for 0 is the background in some libraries. Boxes are `[x, y, width, height]` in pixels from 0.
Pictures without an annotation show no defect.

    pycocotools.coco.COCO("train/_annotations.coco.json")
    supervision.DetectionDataset.from_coco("train", "train/_annotations.coco.json")
"""

_ROBOFLOW = {"train": "train", "validation": "valid", "test": "test"}
_COCO2017 = {"train": "train2017", "validation": "val2017", "test": "test2017"}


def write_coco(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write the pictures and an annotation file for each split, also for one without photos."""
    is_2017 = config.layout == "coco2017"
    first_image = first_box = 1
    for split, photos in dataset.by_split.items():
        parent = (_COCO2017 if is_2017 else _ROBOFLOW)[split]
        for photo in photos:
            folder.place_picture(photo, f"{parent}/{photo.name}")
        content = {
            "info": {"description": f"{split}, exported by vitrollout", "version": "1.0"},
            "licenses": [] if config.licence == "unknown" else [{"id": 1, "name": config.licence, "url": ""}],
            "images": _list_images(photos, first_image, config),
            "annotations": _list_annotations(photos, first_image, first_box),
            "categories": [
                {"id": each.id + 1, "name": each.name, "supercategory": "defect"} for each in dataset.classes
            ],
        }
        folder.write_json(
            f"annotations/instances_{parent}.json" if is_2017 else f"{parent}/_annotations.coco.json", content
        )
        folder.make_folder(parent)
        first_image += len(photos)
        first_box += sum(len(photo.boxes) for photo in photos)


def _list_images(photos: Sequence[ExportPhoto], first: int, config: ExportConfig) -> list[dict[str, Any]]:
    licence = {} if config.licence == "unknown" else {"license": 1}
    return [
        {
            "id": number,
            "width": photo.width,
            "height": photo.height,
            "file_name": photo.name,
            "vitrollout_path": photo.path,
            **licence,
        }
        for number, photo in enumerate(photos, start=first)
    ]


def _list_annotations(photos: Sequence[ExportPhoto], first_image: int, first_box: int) -> list[dict[str, Any]]:
    boxes = [(number, box) for number, photo in enumerate(photos, start=first_image) for box in photo.boxes]
    return [
        {
            "id": number,
            "image_id": image,
            "category_id": box.class_id + 1,
            "bbox": [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0],
            "area": (box.x1 - box.x0) * (box.y1 - box.y0),
            "iscrowd": 0,
            "segmentation": [],
        }
        for number, (image, box) in enumerate(boxes, start=first_box)
    ]
