import json
import re

import pytest
from PIL import Image

from pipeline.errors import DataError
from pipeline.reviews.record import ReviewBox
from tests.export.formats.written import read_lines, write_export

SPLITS = ("train", "validation", "test")


def fill_in(line):
    """Put boxes and names in the place of their marks, as ms-swift does with QWENVL_BBOX_FORMAT=new."""
    boxes, names = iter(line["objects"]["bbox"]), iter(line["objects"]["ref"])
    text = line["messages"][1]["content"]
    return re.sub("<bbox>|<ref-object>", lambda mark: str(next(boxes)) if mark[0] == "<bbox>" else next(names), text)


def test_filled_in_answers_are_json_with_pixels_of_the_file(archive, tmp_path):
    data = write_export(archive, tmp_path / "data", "swift")
    corners = {(defect.label, *defect.box) for defect in archive.defects.values()}
    found, empty = set(), 0
    for line in read_lines(*(data / f"{split}.jsonl" for split in SPLITS)):
        assert line["messages"][0]["content"].count("<image>") == len(line["images"]) == 1
        assert "<bbox>" not in line["messages"][0]["content"]
        answers = json.loads(fill_in(line))
        empty += not answers
        found |= {(answer["label"], *answer["bbox_2d"]) for answer in answers}
        with Image.open(data / line["images"][0]) as picture:
            assert all(answer["bbox_2d"][2] <= picture.width for answer in answers)
    assert found == corners
    assert empty == sum(label == "ok" for label in archive.labels.values())


@pytest.mark.parametrize("label", ['a "b"', "a\\b", "x<y"])
def test_labels_that_break_the_json_are_refused(archive, tmp_path, label):
    path = next(iter(archive.defects))
    archive.review(path, label=label, boxes=(ReviewBox(*archive.defects[path].box, label),))
    with pytest.raises(DataError, match=r"swift: can't hold 1 of 3 labels.*--rename"):
        write_export(archive, tmp_path / "data", "swift")
