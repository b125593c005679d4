"""Boxes read back by other people's readers, compared with the reviewed ones."""

import numpy as np
import pandas as pd


def original_paths(folder):
    """The path of each photo in the archive, by the name of its picture."""
    rows = pd.read_parquet(folder / "manifest.parquet", columns=["path", "file"]).dropna()
    return {file.rpartition("/")[2]: path for path, file in zip(rows["path"], rows["file"], strict=True)}


def check_objects(archive, path, objects):
    """Compare the objects of one picture, found by labelformat."""
    boxes = [(each.box.xmin, each.box.ymin, each.box.xmax, each.box.ymax) for each in objects]
    check_boxes(archive, path, boxes, [each.category.name for each in objects])


def check_boxes(archive, path, boxes, labels):
    defect = archive.defects.get(path)
    assert list(labels) == ([defect.label] if defect else [])
    assert all(np.abs(np.subtract(box, defect.box)).max() < 0.01 for box in boxes)


def check_supervision(archive, folder, dataset, count):
    """Compare all pictures of a data set read by supervision."""
    paths = original_paths(folder)
    assert len(dataset) == count
    for file, _, detections in dataset:
        labels = [dataset.classes[index] for index in detections.class_id]
        check_boxes(archive, paths[file.rpartition("/")[2]], detections.xyxy, labels)
