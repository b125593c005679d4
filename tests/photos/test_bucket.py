"""The photos of a bucket, listed from a real server."""

import pytest

from pipeline.errors import StoreError
from pipeline.photos.bucket import BucketSource
from pipeline.photos.discover import discover
from pipeline.photos.selection import Selection
from pipeline.storage.files import file_status
from pipeline.storage.location import ObjectUrl
from pipeline.storage.object_store import ObjectStorage
from tests.helpers.object_server import upload_folder

NAMES = [
    "a.jpg", "b/c.PNG", "b/d/e.tif", "b-c/f.webp", "notes.txt", "raw.nef", ".hidden.jpg", "b/._a.jpg", "noextension",
    "@eaDir/a.jpg", ".trash/x.jpg", "b/.jpg", "z/SYNOPHOTO_THUMB_M.jpg", "half.jpg.part", "ä ö.jpg", "100% #1?.jpg",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def paths_of(source):
    return [ref.path for chunk in source.chunks() for ref in chunk]


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(pattern="*.JPG"),
        Selection(pattern="b/*"),
        Selection(exclude=("b", "*.webp")),
        Selection(hidden=True, exclude=("._*",)),
    ],
)
def test_same_photos_as_of_a_folder(bucket, folder, selection):
    upload_folder(folder, bucket / "in")
    source, found = BucketSource(bucket / "in", selection), discover(folder, selection)
    assert paths_of(source) == [ref.path for ref in found.refs]
    assert source.left_out == found.left_out
    assert source.unreadable == {}


def test_reference_to_an_object(bucket):
    ObjectStorage(bucket).put("in/b/a.jpg", b"content")
    source = BucketSource(bucket / "in")
    (ref,) = next(source.chunks())
    status = file_status(bucket / "in" / "b" / "a.jpg")
    assert (ref.path, ref.path_bytes, ref.file) == ("b/a.jpg", None, f"{bucket}/in/b/a.jpg")
    assert (ref.file_bytes, ref.version, ref.problem) == (7, status.version, None)
    assert abs(ref.mtime_ns - status.mtime_ns) < 2 * 10**9
    assert source.name == f"{bucket}/in"


def test_whole_bucket_and_neighbours_of_a_prefix(bucket):
    for name in ("in/a.jpg", "inside/b.jpg", "in.jpg"):
        ObjectStorage(bucket).put(name, b"x")
    assert paths_of(BucketSource(bucket)) == ["in.jpg", "in/a.jpg", "inside/b.jpg"]
    assert paths_of(BucketSource(bucket / "in")) == ["a.jpg"]
    assert paths_of(BucketSource(bucket / "nothing")) == []


def test_marks_of_folders_are_no_photos(bucket, object_server):
    for key, content in (("in/", b""), ("in/x.jpg/", b""), ("in/x.jpg/a.jpg", b"x"), ("in/empty.jpg", b"")):
        object_server.put_object(bucket, key, content)
    assert paths_of(BucketSource(bucket / "in")) == ["empty.jpg", "x.jpg/a.jpg"]


@pytest.mark.parametrize("key", ["in/b//c.jpg", "in/b/../c.jpg", "in/b/./c.jpg"])
def test_key_that_cannot_be_read_costs_its_folder_only(bucket, object_server, caplog, key):
    for name in ("in/a.jpg", "in/b.jpg", "in/d/e.jpg", "in/d/f/g.jpg", key):
        object_server.put_object(bucket, name, b"x")
    source = BucketSource(bucket / "in")
    assert sorted(paths_of(source)) == ["a.jpg", "b.jpg", "d/e.jpg", "d/f/g.jpg"]
    assert source.unreadable == {"b": "a key below it has an empty part, . or .. between slashes"}
    assert "can't read folder b" in caplog.text


def test_gone(bucket):
    for name in ("a.jpg", ".left-out.jpg"):
        ObjectStorage(bucket).put(name, b"x")
    assert BucketSource(bucket).is_gone(["a.jpg", ".left-out.jpg", "b.jpg"], [None] * 3) == [False, False, True]


def test_no_such_bucket(object_server):
    with pytest.raises(StoreError, match="there is no such bucket"):
        paths_of(BucketSource(ObjectUrl("s3", "no-such-bucket")))
