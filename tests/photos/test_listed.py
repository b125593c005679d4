"""Lists of photos: texts and Parquet files, paths and URLs."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError
from pipeline.photos.listed import ListedSource, is_list
from pipeline.photos.selection import Selection
from pipeline.results.names import overlay_name
from pipeline.storage.object_store import ObjectStorage


def refs_of(source):
    return [ref for chunk in source.chunks() for ref in chunk]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lists" / "near").mkdir(parents=True)
    for name in ("lists/near/a.png", "far.png", "lists/odd extension"):
        (tmp_path / name).write_bytes(b"content")
    return tmp_path


def test_paths_near_and_far(folder):
    file = folder / "lists" / "photos.txt"
    file.write_text(f"near/a.png\n\n{folder}/far.png\r\nodd extension\n./near/../near/a.png\nmissing.png\nnear\n")
    refs = refs_of(ListedSource(file))
    assert [ref.path for ref in refs] == ["near/a.png", str(folder / "far.png"), "odd extension", "missing.png", "near"]
    assert [ref.file for ref in refs[:2]] == [str(folder / "lists/near/a.png"), str(folder / "far.png")]
    assert [ref.problem for ref in refs] == [
        None, None, None, "can't be opened: No such file or directory", "not a regular file",
    ]  # fmt: skip
    assert refs[0].file_bytes == 7
    assert refs[0].mtime_ns == (folder / "lists/near/a.png").stat().st_mtime_ns


def test_absolute_and_relative_paths_are_not_confused(folder):
    """Below the list's folder lies a copy of the whole way to another photo."""
    far = folder / "far.png"
    copy = folder / "lists" / str(far).lstrip("/")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"another one")
    file = folder / "lists" / "photos.txt"
    file.write_text(f"{far}\n{str(far).lstrip('/')}\n")
    refs = refs_of(ListedSource(file))
    assert [ref.path for ref in refs] == [str(far), str(far).lstrip("/")]
    assert [ref.file_bytes for ref in refs] == [7, 11]
    assert len({overlay_name(ref.path) for ref in refs}) == 2


def test_names_in_no_text(folder):
    """With a byte order mark, as Windows writes it; outside UTF-8; with a zero byte."""
    file = folder / "lists" / "photos.txt"
    file.write_bytes(b"\xef\xbb\xbfnear/a.png\n\xff.png\na\0b.png\n")
    refs = refs_of(ListedSource(file))
    assert [ref.path for ref in refs] == ["near/a.png", "\\xff.png", "a\0b.png"]
    assert refs[0].problem is None
    assert {ref.problem for ref in refs[1:]} == {"can't be opened: the list gives no name in UTF-8"}


def test_paths_and_urls_in_parquet(folder, bucket):
    ObjectStorage(bucket).put("some/b.jpg", b"object")
    names = ["near/a.png", f"{bucket}/some/b.jpg", f"{bucket}/none.jpg"]
    pq.write_table(pa.table({"path": names, "label": ["x", "y", "z"]}), folder / "lists" / "photos.parquet")
    near, there, missing = refs_of(ListedSource(folder / "lists" / "photos.parquet"))
    assert near.version is None
    assert (there.path, there.file) == (f"{bucket}/some/b.jpg", f"{bucket}/some/b.jpg")
    assert (there.file_bytes, there.problem) == (6, None)
    assert there.version
    assert missing.problem == "can't be opened: no such object"


def test_list_in_a_bucket(folder, bucket):
    storage = ObjectStorage(bucket)
    storage.put("lists/deep/b.jpg", b"object")
    storage.put("lists/photos.txt", f"deep/b.jpg\n{folder}/far.png\n".encode())
    object_, file = refs_of(ListedSource(bucket / "lists" / "photos.txt"))
    assert (object_.path, object_.file) == ("deep/b.jpg", f"{bucket}/lists/deep/b.jpg")
    assert file.file == str(folder / "far.png")


def test_globs_select(folder):
    file = folder / "photos.txt"
    file.write_text("lists/near/a.png\nfar.png\nlists/odd extension\n")
    source = ListedSource(file, Selection(pattern="*.png", exclude=("far*",)))
    assert [ref.path for ref in refs_of(source)] == ["lists/near/a.png"]


def test_gone(folder, bucket):
    ObjectStorage(bucket).put("b.jpg", b"object")
    (folder / "photos.txt").write_text("")
    paths = ["far.png", "gone.png", str(folder / "far.png"), f"{bucket}/b.jpg", f"{bucket}/c"]
    gone = ListedSource(folder / "photos.txt").is_gone(paths, [None] * 5)
    assert gone == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"https://example.com/a.jpg\n", "photos.txt: https:// is not supported"),
        (None, r"photos.txt: the list can't be read \(.*No such file"),
    ],
)
def test_faults(folder, content, reason):
    if content is not None:
        (folder / "photos.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        refs_of(ListedSource(folder / "photos.txt"))


def test_faults_of_parquet(folder):
    pq.write_table(pa.table({"file": ["a"], "size": [1]}), folder / "photos.parquet")
    assert [ref.path for ref in refs_of(ListedSource(folder / "photos.parquet"))] == ["a"], "the only texts"
    pq.write_table(pa.table({"file": ["a"], "label": ["b"]}), folder / "photos.parquet")
    with pytest.raises(ConfigError, match="needs the column path, has file, label"):
        refs_of(ListedSource(folder / "photos.parquet"))
    (folder / "photos.parquet").write_bytes(b"no table")
    with pytest.raises(ConfigError, match="the list can't be read"):
        refs_of(ListedSource(folder / "photos.parquet"))


def test_folders_named_like_lists_are_folders(folder, bucket):
    (folder / "photos.txt").mkdir()
    assert not is_list(folder / "photos.txt")
    assert is_list(folder / "photos.parquet")
    assert is_list(bucket / "photos.txt")
    assert not is_list(bucket / "photos")
