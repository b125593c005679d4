"""YOLO, read by labelformat and supervision; data.yaml by PyYAML."""

from importlib import import_module
from pathlib import Path

import pytest

from pipeline.export.config import ExportConfig
from pipeline.export.export import export
from tests.export.archive import GROUPS, review_photos
from tests.export.formats.boxes import check_objects, check_supervision, original_paths

SPLITS = {"train": 25, "val": 6, "test": 6}


@pytest.mark.parametrize("split", SPLITS)
def test_labelformat_reads_the_boxes(exported, split):
    formats = import_module("labelformat.formats")
    archive, out = exported
    paths = original_paths(out / "yolo")
    reader = formats.YOLOv8ObjectDetectionInput(input_file=out / "yolo/data.yaml", input_split=split)
    assert [(each.id, each.name) for each in reader.get_categories()] == [(0, "ok"), (1, "open"), (2, "short")]
    labels = list(reader.get_labels())
    assert len(labels) == SPLITS[split]
    for label in labels:
        check_objects(archive, paths[label.image.filename], label.objects)


@pytest.mark.filterwarnings("ignore:OpenCV .* is not installed:UserWarning")
@pytest.mark.parametrize("split", SPLITS)
def test_supervision_reads_the_boxes(exported, split):
    supervision = import_module("supervision")
    archive, out = exported
    place = out / "yolo"
    dataset = supervision.DetectionDataset.from_yolo(
        str(place / "images" / split), str(place / "labels" / split), str(place / "data.yaml")
    )
    assert dataset.classes == ["ok", "open", "short"]
    check_supervision(archive, place, dataset, SPLITS[split])


def test_every_picture_has_a_label_file_empty_without_a_defect(exported):
    archive, out = exported
    for name, path in original_paths(out / "yolo").items():
        (picture,) = (out / "yolo/images").rglob(name)
        file = Path(str(picture).replace("/images/", "/labels/")).with_suffix(".txt")
        assert len(file.read_text().splitlines()) == int(path in archive.defects)


def test_data_yaml_names_no_path_and_odd_labels_survive(archive, tmp_path):
    yaml = import_module("yaml")
    label = 'no: "yes", \\ # ö'
    path = next(iter(archive.defects))
    review_photos(archive, {path: {"label": label, "boxes_complete": True}})
    out = tmp_path / "data"
    export(ExportConfig(results=archive.results, out=out, format="yolo", group=GROUPS))
    assert yaml.safe_load((out / "data.yaml").read_text()) == {
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "nc": 4,
        "names": {0: "ok", 1: "open", 2: "short", 3: label},
    }
