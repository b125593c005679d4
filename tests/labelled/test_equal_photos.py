"""Byte-identical photos: named where they leak between splits, or contradict each other."""

import shutil

import pytest

from pipeline.labelled import equal_photos
from pipeline.labelled.equal_photos import find_equal_photos, warn_of_equal_photos
from pipeline.labelled.splits import LabelledPhoto
from tests.helpers.photos import save_photos


@pytest.fixture
def photos(tmp_path):
    """Six different photos of two classes, two of each split."""
    names = save_photos(tmp_path, 6)
    splits = ["train", "train", "validation", "validation", "test", "test"]
    return [
        LabelledPhoto(name, tmp_path / name, ("ok", "dent")[index % 2], split=split)
        for index, (name, split) in enumerate(zip(names, splits, strict=True))
    ]


def copy_over(photos, source, *targets):
    for target in targets:
        shutil.copy(photos[source].file, photos[target].file)


def test_different_photos_are_no_news(photos, caplog):
    photos[0].file.write_bytes(b"same size")
    photos[1].file.write_bytes(b"size same")
    warn_of_equal_photos(photos)
    assert find_equal_photos(photos) == []
    assert caplog.messages == []


def test_twins_in_two_splits_are_named(photos, caplog):
    copy_over(photos, 0, 4)
    warn_of_equal_photos(photos)
    (message,) = caplog.messages
    assert message.startswith("2 photos are byte-identical to one in another split: ")
    assert "photo-0004.png (test) = photo-0000.png (train)" in message


def test_twins_under_two_labels_are_named_in_one_split_too(photos, caplog):
    copy_over(photos, 2, 3)
    warn_of_equal_photos(photos)
    (message,) = caplog.messages
    assert "one with another label: photo-0003.png (dent) = photo-0002.png (ok); correct the labels" in message


def test_both_at_once_with_counts_of_all(photos, caplog):
    copy_over(photos, 0, 1, 2, 3, 4, 5)
    warn_of_equal_photos(photos)
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "6 photos are byte-identical to one in another split",
        "6 photos are byte-identical to one with another label",
    ]
    assert [len(group) for group in find_equal_photos(photos)] == [6]


def test_only_files_of_one_size_are_read(photos, monkeypatch):
    for index, photo in enumerate(photos[:4]):
        photo.file.write_bytes(b"x" * index)
    copy_over(photos, 4, 5)
    read = []
    monkeypatch.setattr(equal_photos, "hash_file", lambda ref: read.append(ref.path) or "hash")
    find_equal_photos(photos)
    assert sorted(read) == [photos[4].name, photos[5].name]


def test_files_out_of_reach_are_left_to_the_decoder(photos):
    photos[0].file.unlink()
    photos[1].file.unlink()
    assert find_equal_photos(photos) == []
