"""Labels, classes and splits of the photos of a results folder, and a reason for each one left out."""

import json
import os
import shutil
from collections import Counter

import pytest

from pipeline.config import RunConfig
from pipeline.errors import ConfigError, DataError
from pipeline.export.config import ExportConfig
from pipeline.export.gather import gather_dataset
from pipeline.results.read import read_results
from pipeline.reviews.classes import extend_classes, read_classes
from pipeline.reviews.record import ReviewBox
from pipeline.run import run
from tests.export.archive import GROUPS, make_archive, review_photos

A, B, C = "board-0/exif-1.jpg", "board-1/exif-2.jpg", "board-2/good.png"


def gather(archive, **settings):
    settings = {"group": GROUPS, "format": "csv"} | settings
    return gather_dataset(ExportConfig(results=archive.results, out=archive.results.parent / "data", **settings))


def by_path(dataset):
    return {photo.path: photo for photo in dataset.photos}


def reasons(dataset):
    return {row.path: row.left_out for row in dataset.rows if row.left_out}


def test_every_reviewed_photo_has_its_label_boxes_and_reviewer(archive):
    photos = by_path(gather(archive))
    assert {path: photo.label for path, photo in photos.items()} == archive.labels
    for path, photo in photos.items():
        defect = archive.defects.get(path)
        boxes = [((box.x0, box.y0, box.x1, box.y1), box.label) for box in photo.boxes]
        assert boxes == ([(defect.box, defect.label)] if defect else [])
        assert (photo.who, photo.source, photo.boxes_complete) == (("eva",), "review", True)
        assert (photo.width, photo.height) == (64, 48)
        assert photo.is_good == (photo.label == "ok")


def test_photos_without_an_agreed_label_are_left_out_with_the_reason(unreviewed):
    review_photos(unreviewed, {A: {}, B: {"verdict": "unsure", "label": None, "boxes": ()}, C: {}})
    review_photos(unreviewed, {C: {"label": "open"}}, who="max")
    dataset = gather(unreviewed)
    assert list(by_path(dataset)) == [A]
    expected = Counter({"not reviewed": len(unreviewed.labels) - 3, "unsure": 1, "disputed": 1})
    assert dataset.count_left_out() == dict(expected)
    assert (reasons(dataset)[B], reasons(dataset)[C]) == ("unsure", "disputed")
    assert [row.path for row in dataset.rows] == sorted(unreviewed.labels)


def test_unusable_photos_are_left_out(archive):
    review_photos(archive, {A: {"verdict": "rejected", "label": None, "boxes": ()}})
    assert reasons(gather(archive)) == {A: "rejected"}


def test_boxes_not_complete(archive):
    review_photos(archive, {A: {"boxes_complete": False}, C: {"boxes_complete": False}})
    photos = by_path(gather(archive))
    assert (photos[A].boxes_complete, photos[C].boxes_complete) == (False, True)


def test_a_defect_without_any_box_is_not_complete_whatever_was_said(archive):
    review_photos(archive, {A: {"boxes": (), "boxes_complete": True}})
    assert not by_path(gather(archive))[A].boxes_complete


def test_good_photos_with_boxes_still_open_are_not_complete(archive):
    review_photos(archive, {C: {"boxes": (ReviewBox(1, 1, 5, 5, "open"),), "boxes_complete": False}})
    assert not by_path(gather(archive))[C].boxes_complete


def test_boxes_are_clipped_to_the_photo(archive):
    outside = ReviewBox(-9, -9, -1, -1, "open")
    review_photos(archive, {A: {"boxes": (ReviewBox(-3, 10, 70, 99, "open", note="edge"), outside)}})
    (box,) = by_path(gather(archive))[A].boxes
    assert (box.x0, box.y0, box.x1, box.y1, box.note) == (0, 10, 64, 48, "edge")


def write_csv(archive, *rows, header="path,label"):
    file = archive.results.parent / "labels.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def test_labels_of_a_csv_are_for_photos_without_a_review(unreviewed):
    review_photos(unreviewed, {A: {}})
    photos = by_path(gather(unreviewed, labels=write_csv(unreviewed, f"{A},ok", f"{B},dent", f"./{C},ok")))
    assert {path: (photo.label, photo.source) for path, photo in photos.items()} == {
        A: ("open", "review"),
        B: ("dent", "csv"),
        C: ("ok", "csv"),
    }
    assert photos[B].who == ()
    assert (photos[B].boxes_complete, photos[C].boxes_complete) == (False, True)


def test_groups_of_a_csv(unreviewed):
    review_photos(unreviewed, {A: {}, B: {}})
    file = write_csv(unreviewed, f"{A},north", f"{B},south", f"{C},south", header="path,site")
    photos = by_path(gather(unreviewed, labels=file, group="column:site"))
    assert {photo.group for photo in photos.values()} == {"north", "south"}


def test_sure_answers_of_the_model_are_labels_too(unreviewed):
    review_photos(unreviewed, {A: {}})
    scores = read_results(unreviewed.results, columns=["path", "score", "label"]).set_index("path")
    bound = float(scores["score"].drop(A).median())
    photos = by_path(gather(unreviewed, also=f"model>={bound}"))
    sure = set(scores.index[scores["score"] >= bound]) - {A}
    assert {path for path, photo in photos.items() if photo.source == "model"} == sure
    assert all(photos[path].label == scores["label"][path] for path in sure)


def test_classes_keep_their_ids(archive):
    assert [(each.id, each.name) for each in gather(archive).classes] == [(0, "ok"), (1, "open"), (2, "short")]
    review_photos(archive, {A: {"label": "burr"}})
    assert [each.name for each in gather(archive).classes] == ["ok", "open", "short", "burr"]
    assert [each.name for each in read_classes(archive.results)] == ["ok", "open", "short", "burr"]


def test_classes_of_the_model_come_first_without_a_list(unreviewed):
    (unreviewed.results / "reviews/classes.json").unlink()
    review_photos(unreviewed, {A: {}})
    names = [each.name for each in gather(unreviewed).classes]
    assert names[-1] == "open"
    assert names[:-1] == sorted(names[:-1])
    assert names[0].startswith("class-")


def test_selected_classes(archive):
    review_photos(archive, {A: {"boxes": (ReviewBox(1, 1, 5, 5, "short"), ReviewBox(9, 9, 12, 12, "open"))}})
    dataset = gather(archive, classes="open,ok")
    assert [(each.id, each.name) for each in dataset.classes] == [(0, "ok"), (1, "open")]
    assert {photo.label for photo in dataset.photos} == {"ok", "open"}
    assert [box.label for box in by_path(dataset)[A].boxes] == ["open"]
    assert set(dataset.count_left_out()) == {"label not selected"}


def test_renamed_labels_and_two_labels_as_one(archive):
    file = archive.results.parent / "names.csv"
    file.write_text("label,name\nopen,defect\nshort,defect\n")
    dataset = gather(archive, rename=file)
    assert [each.name for each in dataset.classes] == ["ok", "defect"]
    assert {box.label for photo in dataset.photos for box in photo.boxes} == {"defect"}
    assert {photo.is_good for photo in dataset.photos if photo.label == "defect"} == {False}


@pytest.mark.parametrize(("name", "text"), [("classes", "opne"), ("positive", "opne")])
def test_unknown_labels_of_settings(archive, name, text):
    with pytest.raises(ConfigError, match=f"{name} = opne: no such class; there are ok, open, short"):
        gather(archive, **{name: text})


def test_positive_classes(archive):
    photos = gather(archive, positive="open").photos
    assert {photo.label for photo in photos if photo.is_good} == {"ok", "short"}


def test_group_must_be_named_once(archive):
    with pytest.raises(ConfigError, match=r"group: not given.*the paths suggest --group"):
        gather(archive, group=None)
    first = {path: photo.split for path, photo in by_path(gather(archive)).items()}
    assert {path: photo.split for path, photo in by_path(gather(archive, group=None)).items()} == first


def test_no_group_on_two_sides_and_no_split_empty(archive):
    photos = gather(archive).photos
    sides = {(photo.group, photo.split) for photo in photos}
    assert len(sides) == len({photo.group for photo in photos}) == 12
    assert {split for _, split in sides} == {"train", "validation", "test"}


def test_nothing_to_export(unreviewed):
    with pytest.raises(DataError, match=r"nothing to export \(\d+ not reviewed\); review photos first, or give"):
        gather(unreviewed)


@pytest.fixture
def own_photos(archive, tmp_path, tiny_vit):
    """An archive of few photos to remove and change, with a copy of one in another folder; all reviewed."""
    archive = make_archive(tmp_path / "own", tiny_vit, boards=12)
    review_photos(archive)
    return archive


def test_photos_gone_changed_or_touched(own_photos):
    (own_photos.photos / A).unlink()
    (own_photos.photos / B).write_bytes(b"another photo")
    os.utime(own_photos.photos / C)
    dataset = gather(own_photos)
    assert reasons(dataset) == {A: "gone", B: "changed"}
    assert C in by_path(dataset)


def test_unreadable_photos(own_photos, file_permissions_hold):
    (own_photos.photos / A).chmod(0)
    with file_permissions_hold():
        assert reasons(gather(own_photos)) == {A: "unreadable"}
    (own_photos.photos / A).chmod(0o644)


def test_copies_are_one_photo_and_any_of_them_will_do(own_photos, tiny_vit):
    shutil.copy(own_photos.photos / A, own_photos.photos / "board-9/copy.jpg")
    run(RunConfig(input=own_photos.photos, out=own_photos.results, model=str(tiny_vit), report=False, workers=1,
                  overlay_size=None))  # fmt: skip
    first = by_path(gather(own_photos))
    assert A in first
    assert "board-9/copy.jpg" not in first
    assert reasons(gather(own_photos)) == {}
    (own_photos.photos / A).unlink()
    (photo,) = (photo for photo in gather(own_photos).photos if photo.content_hash == first[A].content_hash)
    assert photo.file.endswith("board-9/copy.jpg")


def test_copies_with_two_labels_in_a_csv(own_photos, tiny_vit):
    for file in (own_photos.results / "reviews").glob("*.jsonl"):
        file.unlink()
    shutil.copy(own_photos.photos / A, own_photos.photos / "copy.jpg")
    run(RunConfig(input=own_photos.photos, out=own_photos.results, model=str(tiny_vit), report=False, workers=1,
                  overlay_size=None))  # fmt: skip
    dataset = gather(own_photos, labels=write_csv(own_photos, f"{A},open", "copy.jpg,short", f"{B},ok"), group="photo")
    assert list(by_path(dataset)) == [B]
    assert reasons(dataset)[A] == reasons(dataset)["copy.jpg"] == "copies with different labels"


def test_a_renamed_class_keeps_its_photos(archive):
    file = archive.results / "reviews/classes.json"
    classes = json.loads(file.read_text())
    classes[1] |= {"name": "gap", "formerly": ["open"]}
    file.write_text(json.dumps(classes))
    assert [each.name for each in read_classes(archive.results)] == ["ok", "gap", "short"]
    photos = by_path(gather(archive))
    assert photos[A].label == photos[A].boxes[0].label == "gap"
    assert [each.name for each in extend_classes(archive.results, ["open"])] == ["ok", "gap", "short"]
