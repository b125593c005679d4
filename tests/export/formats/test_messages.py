import json
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from pipeline.reviews.record import ReviewBox
from tests.export.formats.written import read_lines, write_export

SPLITS = ("train", "validation", "test")


def lines_of(folder):
    return read_lines(*(folder / f"{split}.jsonl" for split in SPLITS))


def answer_of(line):
    return line["messages"][1]["content"][0]["text"]


@pytest.mark.filterwarnings("ignore:OpenCV .* is not installed:UserWarning")
def test_supervision_gives_every_box_back_within_a_thousandth(archive, tmp_path):
    supervision = import_module("supervision")
    data = write_export(archive, tmp_path / "data", "messages")
    corners = {defect.box for defect in archive.defects.values()}
    found = 0
    for line in lines_of(data):
        [name] = line["images"]
        with Image.open(data / name) as picture:
            size = picture.size
        boxes = supervision.Detections.from_vlm(
            "qwen_3_vl", answer_of(line), resolution_wh=size, classes=["open", "short"]
        )
        for box in boxes.xyxy:
            nearest = min(corners, key=lambda each: np.abs(np.array(each) - box).max())
            assert (np.abs(box - nearest) <= np.array([*size, *size]) / 2000 + 1e-9).all()
            found += 1
    assert found == len(archive.defects)


def test_answers_are_json_and_photos_without_a_defect_have_an_empty_list(archive, tmp_path):
    path = next(iter(archive.defects))
    archive.review(path, label='a "b" ö', boxes=(ReviewBox(0, 0, 64, 48, 'a "b" ö'),))
    answers = [json.loads(answer_of(line)) for line in lines_of(write_export(archive, tmp_path / "data", "messages"))]
    assert answers.count([]) == sum(label == "ok" for label in archive.labels.values())
    assert [{"bbox_2d": [0, 0, 1000, 1000], "label": 'a "b" ö'}] in answers


def test_the_question_names_the_defects_and_no_part_has_a_key_of_another_kind(archive, tmp_path):
    for line in lines_of(write_export(archive, tmp_path / "data", "messages")):
        picture, question = line["messages"][0]["content"]
        assert picture == {"type": "image"}
        assert "open, short." in question["text"]
        assert "ok" not in question["text"]


def test_datasets_opens_the_pictures(archive, tmp_path, monkeypatch):
    datasets = import_module("datasets")
    data = write_export(archive, tmp_path / "data", "messages")
    monkeypatch.chdir(data)
    files = {split: f"{split}.jsonl" for split in SPLITS}
    loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    for photos in loaded.cast_column("images", datasets.List(datasets.Image())).values():
        assert all(len(photo["images"]) == 1 and photo["images"][0].size for photo in photos)
    assert sum(map(len, loaded.values())) == len(archive.labels)


def test_a_split_without_photos_has_no_file(archive, tmp_path):
    data = write_export(archive, tmp_path / "data", "messages", shares="1,0,0")
    assert sorted(file.name for file in data.glob("*.jsonl")) == ["train.jsonl"]
