"""The plan as a table: a photo of it is found in its folder, in its bucket, or wherever a list says."""

import os

import pyarrow as pa
import pytest

from pipeline.planning.plan_schema import PLAN_SCHEMA, plan_of_refs, refs_of_plan
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


def test_a_photo_takes_little_memory(tmp_path):
    """At ten million photos every byte is ten megabytes: most columns are all null, and shared by all chunks."""
    chunks = [[f"line 3/2026-11-{day:02}/photo {number:06}.jpg" for number in range(1000)] for day in range(20)]
    before = pa.total_allocated_bytes()
    tables = [
        plan_of_refs(
            [ImageRef(path, None, str(tmp_path / path), number, number) for number, path in enumerate(paths)],
            tmp_path,
            [False] * len(paths),
            None,
        )
        for paths in chunks
    ]
    plan = pa.concat_tables(tables)
    names = plan["path"].nbytes  # in buffers of Python
    assert plan["path"].to_pylist() == [path for paths in chunks for path in paths]
    assert (names + pa.total_allocated_bytes() - before) / len(plan) < 63


def test_columns_keep_their_values_and_nulls(tmp_path):
    refs = [ImageRef(path, None, f"/far/{path}", 0, -1, problem, "") for path, problem in (("a", None), ("ü", "x"))]
    rows = plan_of_refs(refs, tmp_path, [False, True], {"a": 0}).to_pylist()
    assert rows[0] == row(
        "a", path_bytes=None, location="/far/a", file_bytes=0, mtime_ns=-1, version="", problem=None,
        failed_before=False, clashes=False, expected=0, sampled=False,
    )  # fmt: skip
    assert (rows[1]["path"], rows[1]["problem"], rows[1]["failed_before"], rows[1]["expected"]) == (
        "ü",
        "x",
        True,
        None,
    )
