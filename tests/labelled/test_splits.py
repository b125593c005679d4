"""Labelled data sets: both layouts, splits, and the errors that say what to change."""

import os
from collections import Counter
from dataclasses import replace

import pytest

from pipeline.errors import DataError
from pipeline.labelled.csv_table import read_table
from pipeline.labelled.read import apply_split_csv, read_labelled_photos
from pipeline.labelled.splits import LabelledPhoto, assign_splits, check_splits, split_counts, write_split_csv
from tests.helpers.photos import save_photos


def photos_of(counts, **more):
    return [
        LabelledPhoto(f"{label}/{index}.png", None, label, **more) for label, n in counts.items() for index in range(n)
    ]


def write_csv(tmp_path, text):
    save_photos(tmp_path, 4)
    file = tmp_path / "labels.csv"
    file.write_text(text)
    return file


def split(photos, **settings):
    return assign_splits(photos, **{"validation_share": 0.2, "test_share": 0.2, "seed": 0} | settings)


def test_folder_with_a_subfolder_per_class(tmp_path):
    save_photos(tmp_path / "ok" / "deeper", 2)
    save_photos(tmp_path / "scratch", 3)
    (tmp_path / "ok" / "notes.txt").write_text("no photo")
    (tmp_path / ".hidden").mkdir()
    photos = read_labelled_photos(tmp_path)
    assert Counter(photo.label for photo in photos) == {"ok": 2, "scratch": 3}
    assert photos[0].name == "ok/deeper/photo-0000.png"
    assert all(photo.file == tmp_path / photo.name and photo.split is None and photo.weight == 1 for photo in photos)


def test_csv_with_weights_and_splits(tmp_path):
    file = write_csv(
        tmp_path,
        "note,label,path,weight,split\nx,ok,photo-0000.png,,train\n,bad,photo-0001.png,0.5,Val\n,1,photo-0002.png,2,test\n",
    )
    photos = read_labelled_photos(file)
    assert [(p.name, p.label, p.weight, p.split) for p in photos] == [
        ("photo-0000.png", "ok", 1.0, "train"),
        ("photo-0001.png", "bad", 0.5, "validation"),
        ("photo-0002.png", "1", 2.0, "test"),
    ]
    assert photos[0].file == tmp_path / "photo-0000.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,klass\nphoto-0000.png,ok\n", "no column 'label'"),
        ("path,label\nphoto-0000.png,ok\ngone.png,ok\n", r"no such file .* line 3 \(gone.png\)"),
        ("path,label\nphoto-0000.png,ok\nphoto-0000.png,bad\n", r"path occurs twice in line 3 \(photo-0000.png\)"),
        ("path,label\nphoto-0000.png,ok\n./photo-0000.png,bad\n", r"path occurs twice in line 3"),
        (f"path,label\nphoto-0000.png,ok\n{'a' * 5000}.png,ok\n", r"no such file .* line 3"),
        ("path,label\nphoto-0000.png,\n", r"label is empty in line 2"),
        ("path,label,weight\nphoto-0000.png,ok,heavy\n", r"weight is not a number over 0 in line 2"),
        ("path,label,weight\nphoto-0000.png,ok,-1\n", r"weight is not a number over 0"),
        ("path,label,split\nphoto-0000.png,ok,holdout\n", r"split is none of train, validation, test in line 2"),
        ("path,label\n", "holds no photos"),
        ("", "can't be read as CSV"),
    ],
)
def test_a_wrong_csv_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_labelled_photos(write_csv(tmp_path, text))


def test_names_of_other_bytes_than_utf_8_are_escaped(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    with open(os.path.join(folder, b"\xff.png"), "wb"):
        pass
    (photo,) = read_labelled_photos(tmp_path)
    assert (photo.name, photo.label) == (r"caf\xe9/\xff.png", r"caf\xe9")
    assert photo.file.is_file()


def test_a_folder_of_splits_with_a_subfolder_per_class(tmp_path):
    for split, label, count in (("train", "ok", 2), ("Val", "ok", 1), ("test", "dot", 3)):
        save_photos(tmp_path / split / label, count)
    photos = read_labelled_photos(tmp_path)
    assert Counter((photo.split, photo.label) for photo in photos) == {
        ("train", "ok"): 2,
        ("validation", "ok"): 1,
        ("test", "dot"): 3,
    }
    assert "Val/ok/photo-0000.png" in {photo.name for photo in photos}


def test_a_class_without_photos_and_photos_without_a_class(tmp_path, caplog):
    save_photos(tmp_path / "ok", 2)
    save_photos(tmp_path, 3)
    assert len(read_labelled_photos(tmp_path)) == 2
    assert "3 photos lie outside the folders of the classes and are left out" in caplog.text
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.cr2").touch()
    with pytest.raises(DataError, match=r"raw: holds no photos, only files called \.cr2"):
        read_labelled_photos(tmp_path)


def test_a_comma_at_the_end_of_every_row(tmp_path):
    photos = read_labelled_photos(write_csv(tmp_path, "path,label\nphoto-0000.png,ok,\nphoto-0001.png,bad,\n"))
    assert [(photo.name, photo.label) for photo in photos] == [("photo-0000.png", "ok"), ("photo-0001.png", "bad")]


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="no such folder or CSV file"):
        read_labelled_photos(tmp_path / "gone")
    with pytest.raises(DataError, match="holds no photos"):
        read_labelled_photos(tmp_path)
    save_photos(tmp_path, 2)
    with pytest.raises(DataError, match="2 photos, but no subfolders"):
        read_labelled_photos(tmp_path)


def test_split_is_stratified():
    counts = split_counts(split(photos_of({"ok": 100, "bad": 20, "rare": 2})))
    assert counts["train"] == {"ok": 60, "bad": 12, "rare": 1}
    assert counts["validation"] == {"ok": 20, "bad": 4, "rare": 1}
    assert counts["test"] == {"ok": 20, "bad": 4}


def test_split_depends_on_the_seed_alone():
    photos = photos_of({"ok": 30, "bad": 30})
    first = {photo.name: photo.split for photo in split(photos, seed=3)}
    again = {photo.name: photo.split for photo in split(photos[::-1], seed=3)}
    other = {photo.name: photo.split for photo in split(photos, seed=4)}
    assert first == again
    assert first != other


def test_a_given_split_is_kept_and_a_missing_validation_is_taken_from_train():
    given = photos_of({"ok": 10, "bad": 10}, split="train")
    test = [LabelledPhoto(f"test/{label}", None, label, split="test") for label in ("ok", "bad")]
    counts = split_counts(split(given + test))
    assert counts == {
        "train": {"ok": 8, "bad": 8},
        "validation": {"ok": 2, "bad": 2},
        "test": {"ok": 1, "bad": 1},
    }
    all_given = [*given[:9], *(LabelledPhoto(f"v{n}", None, "ok", split="validation") for n in range(3))]
    assert split(all_given + given[9:]) == all_given + given[9:]


def test_classes_that_are_too_small():
    with pytest.raises(DataError, match=r"fewer than two photos of 'bad' \(1\)"):
        split(photos_of({"ok": 10, "bad": 1}))
    with pytest.raises(DataError, match="only one class, 'ok'"):
        split(photos_of({"ok": 10}))


def test_a_split_for_some_photos_only():
    photos = [*photos_of({"ok": 3}, split="train"), *photos_of({"bad": 3})]
    with pytest.raises(DataError, match="3 of 6 photos have none"):
        split(photos)


def test_empty_split():
    photos = photos_of({"ok": 3, "bad": 3}, split="test")
    with pytest.raises(DataError, match="'train' is empty"):
        check_splits(photos)
    with pytest.raises(DataError, match="'validation' is empty"):
        check_splits(photos_of({"ok": 3, "bad": 3}, split="train"))


def test_label_in_one_split_only():
    both = [*photos_of({"ok": 2}, split="train"), LabelledPhoto("v", None, "ok", split="validation")]
    with pytest.raises(DataError, match="'new' occurs only in the split 'validation'"):
        check_splits([*both, LabelledPhoto("n", None, "new", split="validation")])
    elsewhere = [LabelledPhoto(where, None, "new", split=where) for where in ("validation", "test")]
    with pytest.raises(DataError, match="'new' does not occur in the split 'train'"):
        check_splits([*both, *elsewhere])


def test_a_label_of_train_alone_passes_where_splits_stay():
    both = [*photos_of({"ok": 2}, split="train"), LabelledPhoto("v", None, "ok", split="validation")]
    check_splits([*both, LabelledPhoto("n", None, "new", split="train")], each_class_judged=False)
    with pytest.raises(DataError, match="'new' occurs only in the split 'test'"):
        check_splits([*both, LabelledPhoto("n", None, "new", split="test")], each_class_judged=False)


def test_split_csv_round_trip(tmp_path):
    photos = split(photos_of({"ok": 10, 'comma, "quote"': 10}))
    write_split_csv(photos, tmp_path / "split.csv")
    bare = photos_of({"ok": 10, 'comma, "quote"': 10, "new": 1})
    again = {photo.name: photo.split for photo in apply_split_csv(bare, tmp_path / "split.csv")}
    assert again == {photo.name: photo.split for photo in photos} | {"new/0.png": None}
    (tmp_path / "split.csv").write_text("photo,split\n")
    with pytest.raises(DataError, match=r"split\.csv: has no column 'path'"):
        apply_split_csv(bare, tmp_path / "split.csv")


def test_whole_groups_stay_together():
    photos = [replace(photo, group=photo.name[:-5]) for photo in photos_of({"ok": 200, "bad": 100})]  # ten photos each
    placed = split(photos)
    assert len({(photo.group, photo.split) for photo in placed}) == len({photo.group for photo in placed})
    assert split_counts(placed)["test"] == {"ok": 40, "bad": 20}
    train = [replace(photo, split="train") for photo in photos]
    test = [LabelledPhoto(f"t/{label}", None, label, split="test", group=label) for label in ("ok", "bad")]
    taken = split([*train, *test])
    assert split_counts(taken)["validation"] == {"ok": 40, "bad": 20}
    assert len({(photo.group, photo.split) for photo in taken}) == len({photo.group for photo in taken})


def test_groups_torn_by_the_splits_of_the_data_are_counted(caplog):
    sides = {"ok": "train", "bad": "validation"}
    photos = [
        replace(photo, split=sides[photo.label], group=photo.name[-5]) for photo in photos_of({"ok": 3, "bad": 2})
    ]
    assert split(photos) == photos
    assert "2 groups lie on several sides of the data's splits: '0' (train, validation)" in caplog.text


def test_split_csv_has_the_groups(tmp_path):
    photos = [replace(photo, group="g") for photo in split(photos_of({"ok": 10, "bad": 10}))]
    write_split_csv(photos, tmp_path / "split.csv")
    assert set(read_table(tmp_path / "split.csv", "path", "split", "group")["group"]) == {"g"}
