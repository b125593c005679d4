"""COCO, read by pycocotools, faster-coco-eval, panlabel, labelformat and supervision."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.export.config import ExportConfig
from pipeline.export.export import export
from pipeline.labelled.read import read_labelled_photos
from tests.export.archive import GROUPS
from tests.export.formats.boxes import check_objects, check_supervision, original_paths

FOLDERS = {"train": 25, "valid": 6, "test": 6}
PANLABEL = Path(sys.executable).with_name("panlabel")


def validate(folder, name):
    command = [PANLABEL, "validate", "--strict", "--format", name, folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("folder", FOLDERS)
def test_pycocotools_finds_the_defect_in_the_middle_of_each_box(exported, folder):
    coco_tools = import_module("pycocotools.coco")
    archive, out = exported
    coco = coco_tools.COCO(str(out / "coco" / folder / "_annotations.coco.json"))
    assert len(coco.imgs) == FOLDERS[folder]
    assert {each["id"]: each["name"] for each in coco.dataset["categories"]} == {1: "ok", 2: "open", 3: "short"}
    for image in coco.imgs.values():
        defect = archive.defects.get(image["vitrollout_path"])
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert len(annotations) == bool(defect)
        with Image.open(out / "coco" / folder / image["file_name"]) as picture:  # without a look at EXIF data
            assert picture.size == (image["width"], image["height"])
            for annotation in annotations:
                x, y, width, height = annotation["bbox"]
                assert (x, y, x + width, y + height) == defect.box
                assert annotation["area"] == width * height
                assert coco.cats[annotation["category_id"]]["name"] == defect.label
                middle = picture.convert("RGB").getpixel((int(x + width / 2), int(y + height / 2)))
                assert np.abs(np.subtract(middle, defect.colour)).max() <= 12


def test_ids_are_unique_over_all_splits(exported):
    _, out = exported
    splits = [json.loads((out / "coco" / folder / "_annotations.coco.json").read_text()) for folder in FOLDERS]
    for kind, count in (("images", 37), ("annotations", 25)):
        assert sorted(each["id"] for split in splits for each in split[kind]) == list(range(1, count + 1))


def test_truth_against_itself_is_perfect(exported):
    evaluation = import_module("faster_coco_eval")
    _, out = exported
    truth = evaluation.COCO(str(out / "coco/train/_annotations.coco.json"))
    found = truth.loadRes([{**annotation, "score": 1.0} for annotation in truth.dataset["annotations"]])
    measured = evaluation.COCOeval_faster(truth, found, "bbox")
    measured.evaluate()
    measured.accumulate()
    measured.summarize()
    assert measured.stats[0] == 1.0


@pytest.mark.parametrize(("name", "place"), [("coco", f"coco/{folder}/_annotations.coco.json") for folder in FOLDERS]
                         + [("yolo", "yolo"), ("voc", "voc")])  # fmt: skip
def test_panlabel_has_nothing_to_complain(exported, name, place):
    _, out = exported
    done = validate(out / place, name)
    assert (done.returncode, done.stdout.strip()) == (0, "Validation passed: no issues found")


def test_panlabel_finds_no_difference_to_yolo(archive, tmp_path):
    """All photos in one split: panlabel compares pictures by name, and for YOLO that has the folder of the split."""
    out = tmp_path / "data"
    export(ExportConfig(results=archive.results, out=out, format="coco,yolo", group=GROUPS, shares="1,0,0"))
    coco = json.loads((out / "coco/train/_annotations.coco.json").read_text())
    for image in coco["images"]:
        image["file_name"] = f"train/{image['file_name']}"
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    command = [PANLABEL, "diff", tmp_path / "coco.json", out / "yolo", "--format-a", "coco", "--format-b", "yolo"]
    options = ["--match-by", "iou", "--iou-threshold", "0.999", "--output-format", "json"]
    difference = json.loads(subprocess.run([*command, *options], capture_output=True, check=True).stdout)
    assert difference == {
        "images": {"shared": 37, "only_in_a": 0, "only_in_b": 0},
        "categories": {"shared": 3, "only_in_a": 0, "only_in_b": 0},
        "annotations": {"shared": 25, "only_in_a": 0, "only_in_b": 0, "modified": 0},
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_labelformat_reads_the_boxes(exported, folder):
    formats = import_module("labelformat.formats")
    archive, out = exported
    file = out / "coco" / folder / "_annotations.coco.json"
    paths = original_paths(out / "coco")
    labels = list(formats.COCOObjectDetectionInput(input_file=file).get_labels())
    assert len(labels) == FOLDERS[folder]
    for label in labels:
        check_objects(archive, paths[label.image.filename], label.objects)


@pytest.mark.filterwarnings("ignore:OpenCV .* is not installed:UserWarning")
@pytest.mark.parametrize("folder", FOLDERS)
def test_supervision_reads_the_boxes(exported, folder):
    supervision = import_module("supervision")
    archive, out = exported
    place = str(out / "coco" / folder)
    dataset = supervision.DetectionDataset.from_coco(place, f"{place}/_annotations.coco.json")
    assert dataset.classes == ["ok", "open", "short"]
    check_supervision(archive, out / "coco", dataset, FOLDERS[folder])


def test_layout_of_coco_2017(archive, tmp_path):
    coco_tools = import_module("pycocotools.coco")
    out = tmp_path / "data"
    export(ExportConfig(results=archive.results, out=out, format="coco", group=GROUPS, layout="coco2017"))
    for split, count in (("train", 25), ("val", 6), ("test", 6)):
        coco = coco_tools.COCO(str(out / f"annotations/instances_{split}2017.json"))
        assert len(coco.imgs) == count
        assert all((out / f"{split}2017" / image["file_name"]).is_file() for image in coco.imgs.values())


def test_licence(archive, tmp_path):
    out = tmp_path / "data"
    export(ExportConfig(results=archive.results, out=out, format="coco", group=GROUPS, licence="cc-by-4.0"))
    coco = json.loads((out / "train/_annotations.coco.json").read_text())
    assert coco["licenses"] == [{"id": 1, "name": "cc-by-4.0", "url": ""}]
    assert {image["license"] for image in coco["images"]} == {1}
    assert (out / "README.md").read_text().startswith('---\nlicense: "cc-by-4.0"\n')


def test_no_licence_is_made_up(exported):
    _, out = exported
    coco = json.loads((out / "coco/train/_annotations.coco.json").read_text())
    assert coco["licenses"] == []
    assert not any("license" in image for image in coco["images"])


def test_the_export_is_a_data_set_of_ours(exported):
    """Each photo has its split, its label and its boxes again, by the pictures as exported."""
    archive, out = exported
    paths = original_paths(out / "coco")
    photos = read_labelled_photos(out / "coco")
    assert {split: sum(photo.split == split for photo in photos) for split in ("train", "validation", "test")} == {
        "train": 25,
        "validation": 6,
        "test": 6,
    }
    for photo in photos:
        path = paths[photo.file.name]
        defect = archive.defects.get(path)
        assert photo.label == archive.labels[path]
        assert [(box.box, box.label) for box in photo.boxes] == ([(defect.box, defect.label)] if defect else [])
