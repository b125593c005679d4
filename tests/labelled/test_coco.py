"""COCO annotations as a data set: one file, or a folder with one for each split."""

import json

import pytest

from pipeline.errors import DataError
from pipeline.labelled.read import find_root, read_labelled_photos
from pipeline.labelled.splits import LabelledBox
from tests.helpers.photos import save_photos

NAMES = ("photo-0000.png", "photo-0001.png")
CATEGORIES = ("ok", "dent", "hole")


def write_coco(file, *boxes, names=NAMES, categories=CATEGORIES):
    """Write annotations: boxes are (number of the picture, category, bbox)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": 10 + number, "file_name": name} for number, name in enumerate(names)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, start=1)],
        "annotations": [
            {"id": number, "image_id": 10 + picture, "category_id": categories.index(name) + 1, "bbox": bbox}
            for number, (picture, name, bbox) in enumerate(boxes, start=1)
        ],
    }
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def coco(tmp_path):
    """A function to write annotations beside two pictures; returns their file."""
    save_photos(tmp_path, 2)
    return lambda *boxes, **options: write_coco(tmp_path / "labels.json", *boxes, **options)


def test_annotations_are_boxes_and_pictures_without_one_are_good(coco, tmp_path):
    first, second = read_labelled_photos(
        coco((0, "dent", [1, 2, 10, 4.5]), (0, "hole", [20, 3, 5, 5]), (0, "hole", [30, 3, 5, 5]))
    )
    assert first.boxes == (
        LabelledBox("dent", (1, 2, 11, 6.5)),
        LabelledBox("hole", (20, 3, 25, 8)),
        LabelledBox("hole", (30, 3, 35, 8)),
    )
    assert (first.name, first.file, first.label, first.split) == (NAMES[0], tmp_path / NAMES[0], "hole", None)
    assert (second.label, second.boxes) == ("ok", ())


@pytest.mark.parametrize(
    ("categories", "good"), [(("dent", "Good"), "Good"), (("dent", "hole"), "ok"), (("dent", " normal "), "normal")]
)
def test_good_pictures_have_the_good_category_if_there_is_one(coco, categories, good):
    photos = read_labelled_photos(coco((1, "dent", [1, 2, 3, 4]), categories=categories))
    assert [photo.label for photo in photos] == [good, "dent"]


def test_a_folder_with_annotations_beside_the_pictures_of_each_split(tmp_path):
    splits = {"train": "train", "valid": "validation", "test": "test"}
    for number, folder in enumerate(splits):
        save_photos(tmp_path / folder, 2, seed=number)
        write_coco(tmp_path / folder / "_annotations.coco.json", (0, "dent", [number, 2, 3, 4]))
    photos = read_labelled_photos(tmp_path)
    assert find_root(tmp_path) == tmp_path
    assert {photo.name: photo.split for photo in photos} == {
        f"{folder}/{name}": split for folder, split in splits.items() for name in NAMES
    }
    boxes = {photo.name: photo.boxes for photo in photos}
    for number, folder in enumerate(splits):
        assert boxes[f"{folder}/{NAMES[0]}"] == (LabelledBox("dent", (number, 2, number + 3, 6)),)
    assert all(photo.file == tmp_path / photo.name for photo in photos)


@pytest.mark.parametrize("pictures", ["{}", "images/{}"])
def test_a_folder_with_all_annotations_in_one_place(tmp_path, pictures):
    for folder in ("train2017", "val2017"):
        save_photos(tmp_path / pictures.format(folder), 2)
        write_coco(tmp_path / "annotations" / f"instances_{folder}.json", (1, "hole", [1, 1, 2, 2]))
    write_coco(tmp_path / "annotations" / "captions_train2017.json")
    splits = {photo.name: photo.split for photo in read_labelled_photos(tmp_path)}
    assert splits == {
        f"{pictures.format(folder)}/{name}": split
        for folder, split in (("train2017", "train"), ("val2017", "validation"))
        for name in NAMES
    }


def test_annotations_of_no_split_do_not_make_a_folder_a_coco_data_set(tmp_path):
    """Somebody's folder of classes may hold such a file in one of them."""
    for label in ("dent", "ok"):
        save_photos(tmp_path / label, 2)
    write_coco(tmp_path / "dent" / "_annotations.coco.json", (0, "hole", [1, 1, 2, 2]))
    assert {(photo.label, photo.boxes) for photo in read_labelled_photos(tmp_path)} == {("dent", None), ("ok", None)}


def test_a_missing_picture_is_named(coco, tmp_path):
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(DataError, match=f"labels.json: its picture {NAMES[1]} is not in {tmp_path}, .*; put it there"):
        read_labelled_photos(coco((0, "dent", [1, 2, 3, 4])))


@pytest.mark.parametrize("bbox", [[1, 2, 0, 4], [1, 2, 3, -4], [1, 2, float("nan"), 4], [float("inf"), 2, 3, 4]])
def test_a_box_without_an_area_is_named(coco, bbox):
    with pytest.raises(DataError, match=r"annotation 2: bbox \[.*\] is no \[x, y, width, height\]"):
        read_labelled_photos(coco((0, "dent", [1, 2, 3, 4]), (1, "dent", bbox)))


@pytest.mark.parametrize("bbox", [[], [1, 2, 3], [1, 2, 3, 4, 5], ["left", 2, 3, 4], None, 7])
def test_a_box_of_another_form_is_refused(coco, bbox):
    """Annotations of outlines or key points alone have an empty one."""
    with pytest.raises(DataError, match=r"labels.json: "):
        read_labelled_photos(coco((0, "dent", [1, 2, 3, 4]), (1, "dent", bbox)))


@pytest.mark.parametrize("content", ["[]", "{}", '{"images": [], "annotations": [], "categories": [{"id": 1}]}', "7"])
def test_other_json_is_refused(tmp_path, content):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(DataError, match=r"labels.json: is no COCO file of boxes .*; export it again"):
        read_labelled_photos(tmp_path / "labels.json")


@pytest.mark.parametrize("content", [b"path,label\n", b"", b"\xff\xfe\x00"])
def test_a_file_without_json_is_refused(tmp_path, content):
    (tmp_path / "labels.JSON").write_bytes(content)
    with pytest.raises(DataError, match=r"labels.JSON: can't be read as JSON .*; give a COCO file, or a CSV"):
        read_labelled_photos(tmp_path / "labels.JSON")


def test_a_picture_listed_twice_is_refused(coco):
    """As after a merge of two files: the names of photos are unique in a data set."""
    with pytest.raises(DataError, match=NAMES[0]):
        read_labelled_photos(coco((0, "dent", [1, 2, 3, 4]), names=(NAMES[0], NAMES[1], NAMES[0])))


def test_an_unknown_category_is_refused(coco):
    file = coco((0, "dent", [1, 2, 3, 4]))
    file.write_text(file.read_text().replace('"category_id": 2', '"category_id": 9'))
    with pytest.raises(DataError, match=r"is no COCO file of boxes \(KeyError: 9\)"):
        read_labelled_photos(file)
