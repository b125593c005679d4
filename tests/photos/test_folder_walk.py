"""The walk in the order of the paths, whatever the names; and which of several links to a folder gives its path."""

import os
import random
from pathlib import Path

import pytest

from pipeline.photos.discover import FolderSource
from pipeline.photos.folder_walk import FolderWalk, escape
from pipeline.photos.selection import Selection

NAMES = ["a", "b", "ab", "a-", "a.b", "Z", "é", "e\u0301", "a b", "\N{CAMERA}", os.fsdecode(b"\xff"), "\uffff"]


def write_photos(root, names):
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"photo")


def paths_of(root, **settings):
    chunks = FolderSource(root, Selection(**settings)).chunks()
    return [ref.path for chunk in chunks for ref in chunk]


@pytest.mark.parametrize("seed", range(15))
def test_photos_come_sorted_by_path(seed, tmp_path):
    draw = random.Random(seed)
    folders = ["/".join(draw.choices(NAMES, k=depth)) for depth in (0, 1, 1, 2, 2, 3) for _ in range(2)]
    photos = {f"{draw.choice(folders)}/{draw.choice(NAMES)}.{draw.choice(['jpg', 'PNG'])}" for _ in range(40)}
    photos = {name.lstrip("/") for name in photos}
    write_photos(tmp_path, photos)
    found = list(FolderWalk(str(tmp_path), Selection(), None).list_photos())
    assert set(found) == photos
    assert len(found) == len(photos)
    assert found == sorted(photos, key=escape)


def test_chunks_hold_all_photos_once_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.photos.discover._CHUNK", 4)
    names = [f"{folder}/{number}.jpg" for folder in "abc" for number in range(3)]
    write_photos(tmp_path, [*names, "a/.hidden.jpg"])
    source = FolderSource(tmp_path)
    assert source.left_out == {}
    for _ in range(2):
        chunks = list(source.chunks())
        assert [len(chunk) for chunk in chunks] == [4, 4, 1]
        assert [ref.path for chunk in chunks for ref in chunk] == names
        assert source.left_out == {".* (hidden file)": 1}
        assert source.unreadable == {}


@pytest.mark.parametrize(
    ("links", "taken"),
    [
        (["a/link", "z/link"], "z/link"),
        (["a/b/link", "a/link", "z"], "z"),
        (["a/b/link", "a/c/link", "a/x"], "a/x"),
        (["ab/link", "a/link"], "ab/link"),
        (["a/y", "a/x"], "a/x"),
    ],
)
def test_of_links_to_one_folder_the_same_one_counts_in_all_versions(links, taken, tmp_path):
    """Its photos have their paths from it: with another one they would all be processed again."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    write_photos(outside, ["1.jpg", "in/2.jpg"])
    for link in links:
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(outside)
    write_photos(root, ["0.jpg"])
    assert paths_of(root, follow_links=True) == ["0.jpg", f"{taken}/1.jpg", f"{taken}/in/2.jpg"]


def test_links_in_linked_folders_come_after_those_beside_them(tmp_path):
    root, one, two = tmp_path / "root", tmp_path / "one", tmp_path / "two"
    write_photos(root, ["0.jpg"])
    write_photos(one, ["1.jpg"])
    write_photos(two, ["2.jpg"])
    (root / "a").symlink_to(one)
    (one / "deep").symlink_to(two)
    (root / "b").symlink_to(two)
    assert paths_of(root, follow_links=True) == ["0.jpg", "a/1.jpg", "b/2.jpg"]


def test_a_photo_is_gone_if_the_system_says_so(tmp_path, caplog):
    write_photos(tmp_path, ["a.jpg", os.fsdecode(b"\xff.jpg")])
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    long = "x" * 300 + ".jpg"
    names = {"a.jpg": None, r"\xff.jpg": b"\xff.jpg", "b.jpg": None, "a.jpg/c.jpg": None, "dangling.jpg": None}
    gone = FolderSource(tmp_path).is_gone([*names, long], [*names.values(), None])
    assert gone == [False, False, True, True, False, False]
    assert caplog.messages == [f"{tmp_path / long}: File name too long; its row stays"]
    assert FolderSource(Path("/nowhere")).is_gone(["a.jpg"], [None]) == [True]
