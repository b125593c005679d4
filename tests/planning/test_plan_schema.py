"""The plan as a table: a photo of it is found in its folder, in its bucket, or wherever a list says."""

import os

import pytest

from pipeline.planning.plan_schema import PLAN_SCHEMA, refs_of_plan
from pipeline.records import ImageRef


def plan_of(*rows):
    return PLAN_SCHEMA.empty_table() if not rows else PLAN_SCHEMA.empty_table().from_pylist(rows, PLAN_SCHEMA)


def row(path, **columns):
    return {"path": path, "file_bytes": 3, "mtime_ns": 2**61, **columns}


@pytest.mark.parametrize("name", [b"a.jpg", "ü/b c.jpg".encode(), b"caf\xe9/\xff.jpg"])
def test_photos_of_a_folder_are_found_under_their_raw_names(name, tmp_path):
    file = os.path.join(os.fsencode(tmp_path), name)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "wb") as stream:
        stream.write(b"abc")
    path = name.decode("utf-8", "backslashreplace")
    raw = None if path.encode() == name else name
    (ref,) = refs_of_plan(plan_of(row(path, path_bytes=raw)), tmp_path)
    assert os.stat(ref.file).st_size == 3
    assert ref == ImageRef(path, raw, os.fsdecode(file), 3, 2**61)


@pytest.mark.parametrize("source", ["s3://bucket/archive", "s3://bucket/archive/"])
def test_photos_of_a_bucket_have_a_url_and_a_version(source):
    (ref,) = refs_of_plan(plan_of(row("day 1/a#b.jpg", version='"e1"')), source)
    assert (ref.file, ref.version) == ("s3://bucket/archive/day 1/a#b.jpg", '"e1"')


def test_photos_of_a_list_are_where_the_list_says(tmp_path):
    refs = refs_of_plan(plan_of(row("a", location="/far/a.jpg"), row("b", problem="not found")), tmp_path)
    assert [(ref.path, ref.file, ref.problem) for ref in refs] == [
        ("a", "/far/a.jpg", None),
        ("b", str(tmp_path / "b"), "not found"),
    ]


def test_an_empty_plan_has_no_photos(tmp_path):
    assert refs_of_plan(plan_of(), tmp_path) == []
