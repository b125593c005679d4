"""Photos fit for a detector."""

import pytest

from pipeline.export.dataset import ExportBox, ExportClass, ExportDataset, ExportPhoto, Origin, TableRow
from pipeline.export.select_photos import keep_model_labels_in_train, limit_ok_share, select_complete_boxes


def make_photo(number, *, boxes=0, split="train", **changes):
    fields = {
        "path": f"{number}.png", "content_hash": f"{number:032x}", "file": f"/{number}.png", "name": f"{number}.png",
        "split": split, "group": str(number), "label": "open" if boxes else "ok", "class_id": int(bool(boxes)),
        "is_good": not boxes, "boxes": (ExportBox(0, 0, 5, 5, "open", 1),) * boxes, "boxes_complete": True,
        "width": 10, "height": 10, "who": (), "source": "review", "is_plain": True,
    }  # fmt: skip
    return ExportPhoto(**fields | changes)


def make_dataset(*photos):
    rows = tuple(TableRow(photo.path, photo.content_hash, photo.label) for photo in photos)
    classes = (ExportClass(0, "ok"), ExportClass(1, "open"))
    return ExportDataset(photos, classes, rows, Origin("photo", (0.7, 0.15, 0.15), (), ()))


def test_photos_with_missing_boxes_are_left_out():
    dataset = make_dataset(make_photo(1, boxes=1), make_photo(2, boxes=1, boxes_complete=False), make_photo(3))
    selected = select_complete_boxes(dataset)
    assert [photo.name for photo in selected.photos] == ["1.png", "3.png"]
    assert selected.count_left_out() == {"boxes not complete": 1}


@pytest.mark.parametrize(("share", "kept"), [(1.0, 12), (0.5, 4), (0.2, 1), (0.0, 0)])
def test_share_of_photos_without_a_defect(share, kept):
    photos = [make_photo(number, boxes=1) for number in range(4)] + [make_photo(number) for number in range(4, 16)]
    selected = limit_ok_share(make_dataset(*photos), share)
    assert sum(not photo.boxes for photo in selected.photos) == kept
    assert sum(len(photo.boxes) for photo in selected.photos) == 4
    assert selected.count_left_out() == ({"beyond ok-share": 12 - kept} if kept < 12 else {})


def test_share_holds_in_each_split_and_for_the_same_photos_in_every_round():
    photos = [make_photo(number, boxes=number % 2, split=("train", "test")[number // 10]) for number in range(20)]
    few = {photo.name for photo in limit_ok_share(make_dataset(*photos), 0.2).photos}
    more = {photo.name for photo in limit_ok_share(make_dataset(*photos), 0.4).photos}
    assert few < more
    assert {sum(photo.name in few and photo.split == split for photo in photos) for split in ("train", "test")} == {6}


def test_tiles_of_a_photo_are_left_out_one_by_one():
    tiles = [
        make_photo(1, boxes=1, name="1-0.png", window=(0, 0, 5, 5)),
        make_photo(1, name="1-5.png", window=(5, 0, 10, 5), is_good=True),
    ]
    selected = limit_ok_share(make_dataset(*tiles), 0.0)
    assert [photo.name for photo in selected.photos] == ["1-0.png"]
    assert selected.count_left_out() == {}


def test_labels_of_the_model_train_and_nothing_else():
    photos = [make_photo(1, source="model"), make_photo(2, source="model", split="test"), make_photo(3, split="test")]
    selected = keep_model_labels_in_train(make_dataset(*photos))
    assert [photo.name for photo in selected.photos] == ["1.png", "3.png"]
    assert selected.count_left_out() == {"label of the model, outside train": 1}
