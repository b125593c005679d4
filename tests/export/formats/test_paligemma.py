from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError
from pipeline.reviews.record import ReviewBox
from tests.export.formats.written import read_lines, write_export

FOLDERS = ("train", "valid", "test")


@pytest.mark.filterwarnings("ignore:OpenCV .* is not installed:UserWarning")
def test_supervision_gives_every_box_back_within_one_bin(archive, tmp_path):
    supervision = import_module("supervision")
    data = write_export(archive, tmp_path / "data", "paligemma")
    corners = {defect.box for defect in archive.defects.values()}
    found = 0
    for split in FOLDERS:
        for line in read_lines(data / split / "annotations.jsonl"):
            assert line["prefix"] == "detect open ; short"
            with Image.open(data / split / line["image"]) as picture:
                size = picture.size
            boxes = supervision.Detections.from_vlm(
                "paligemma", line["suffix"], resolution_wh=size, classes=["open", "short"]
            )
            assert len(boxes) == bool(line["suffix"])
            for box in boxes.xyxy:
                nearest = min(corners, key=lambda each: np.abs(np.array(each) - box).max())
                assert (np.abs(box - nearest) <= np.array([*size, *size]) / 1024).all()
                found += 1
    assert found == len(archive.defects)


def test_several_boxes_are_separated(archive, tmp_path):
    path = next(iter(archive.defects))
    archive.review(path, label="open", boxes=(ReviewBox(0, 0, 64, 24, "short"), ReviewBox(32, 24, 64, 48, "open")))
    data = write_export(archive, tmp_path / "data", "paligemma", shares="1,0,0")
    answers = {line["suffix"] for line in read_lines(data / "train" / "annotations.jsonl")}
    assert "<loc0512><loc0512><loc1023><loc1023> open ; <loc0000><loc0000><loc0512><loc1023> short" in answers
    assert (data / "test" / "annotations.jsonl").read_bytes() == b""


@pytest.mark.parametrize("label", ["a;b", "x<y", "line\nbreak"])
def test_labels_mistaken_for_separators_are_refused(archive, tmp_path, label):
    path = next(iter(archive.defects))
    archive.review(path, label=label, boxes=(ReviewBox(*archive.defects[path].box, label),))
    with pytest.raises(DataError, match=r"paligemma: can't hold 1 of 3 labels.*--rename"):
        write_export(archive, tmp_path / "data", "paligemma")
