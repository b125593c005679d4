"""Labelled data sets: what the walk leaves out, and labels that only look alike."""

import os
from collections import Counter

import pytest

from pipeline.errors import DataError
from pipeline.labelled.read import apply_split_csv, read_labelled_photos
from pipeline.labelled.splits import LabelledPhoto, check_known
from tests.helpers.photos import save_photos


def labels_of(photos):
    return Counter(photo.label for photo in photos)


@pytest.mark.parametrize("parent", [".", "train"])
def test_things_of_systems_are_neither_classes_nor_photos(tmp_path, caplog, parent):
    root = tmp_path / parent
    for label in ("ok", "dent"):
        save_photos(root / label, 2)
    for extra in ("@eaDir", "#recycle", ".ipynb_checkpoints", "lost+found", "ok/@eaDir/photo-0000.png", "dent/.thumb"):
        save_photos(root / extra, 1)
    (root / "ok" / "._photo-0000.png").write_bytes(b"\0\5\x16\7")
    (root / "dent" / "DSC1.arw").touch()
    with caplog.at_level("INFO"):
        photos = read_labelled_photos(tmp_path)
    assert labels_of(photos) == {"ok": 2, "dent": 2}
    (line,) = caplog.messages
    assert line.startswith("left out: 2 @eaDir/ (thumbnails), ")
    for part in ("1 #recycle/ (waste basket)", "1 ._* (resource fork of macOS)", "1 .arw (camera raw)"):
        assert part in line


def test_linked_folders_of_classes_and_folders_out_of_reach(tmp_path, file_permissions_hold, caplog):
    save_photos(tmp_path / "elsewhere" / "good", 2)
    save_photos(tmp_path / "data" / "bad", 2)
    save_photos(tmp_path / "data" / "bad" / "closed", 2)
    (tmp_path / "data" / "good").symlink_to(tmp_path / "elsewhere" / "good")
    (tmp_path / "data" / "bad" / "closed").chmod(0)
    try:
        with file_permissions_hold():
            photos = read_labelled_photos(tmp_path / "data")
    finally:
        (tmp_path / "data" / "bad" / "closed").chmod(0o700)
    assert labels_of(photos) == {"bad": 2, "good": 2}
    assert "can't read folder closed: Permission denied" in caplog.text


@pytest.mark.parametrize(
    ("folders", "label"),
    [
        (("ok", "ok "), "ok"),
        (("Gehäuse", "Geha\u0308use"), "Gehäuse"),
        (("\u200bdent", "dent"), "dent"),
    ],
)
def test_two_folders_of_one_class_are_refused(tmp_path, folders, label):
    for folder in (*folders, "other"):
        save_photos(tmp_path / folder, 2)
    with pytest.raises(DataError, match=f"both are the class '{label}'; put their photos into one folder"):
        read_labelled_photos(tmp_path)


def test_one_class_spelled_otherwise_in_two_splits_is_one(tmp_path):
    for folder in ("train/é", "train/x ", "test/e\u0301", "test/x"):
        save_photos(tmp_path / folder, 1)
    photos = read_labelled_photos(tmp_path)
    assert labels_of(photos) == {"é": 2, "x": 2}
    assert all(photo.file.is_file() and os.path.samefile(photo.file, tmp_path / photo.name) for photo in photos)


def test_labels_of_a_csv_are_stripped_and_composed(tmp_path):
    names = save_photos(tmp_path, 5)
    labels = ["ok", "ok ", "\tok\u00a0", "Riß-ü", "Riß-u\u0308\ufeff"]
    rows = "".join(f"{name},{label}\n" for name, label in zip(names, labels, strict=True))
    (tmp_path / "labels.csv").write_text(f" path , label \n{rows}")
    assert labels_of(read_labelled_photos(tmp_path / "labels.csv")) == {"ok": 3, "Riß-ü": 2}
    (tmp_path / "blank.csv").write_text(f"path,label\n{names[0]}, \n")
    with pytest.raises(DataError, match="label is empty in line 2"):
        read_labelled_photos(tmp_path / "blank.csv")


def test_labels_that_differ_in_case_are_named(tmp_path, caplog):
    for folder in ("Dent", "dent", "ok"):
        save_photos(tmp_path / folder, 1)
    assert labels_of(read_labelled_photos(tmp_path)) == {"Dent": 1, "dent": 1, "ok": 1}
    assert caplog.messages == ["label: 'Dent' and 'dent' differ in case alone and are different classes"]


def test_labels_of_several_classes_of_a_model_are_refused():
    check_known(["ok", "dent"], ["ok", "crane", "dent", "crane"])
    with pytest.raises(DataError, match=r"2 classes called 'crane', ids 1, 3, .* in id2label of its config.json"):
        check_known(["ok", "crane"], ["ok", "crane", "dent", "crane"])


def test_a_split_csv_matches_names_in_another_form(tmp_path):
    (tmp_path / "split.csv").write_text("path,label,split\nok/é.png,ok,test\nok/b.png,ok,train\n")
    photos = [LabelledPhoto(name, tmp_path, "ok") for name in ("ok/e\u0301.png", "ok/b.png", "ok/c.png")]
    assert [photo.split for photo in apply_split_csv(photos, tmp_path / "split.csv")] == ["test", "train", None]
