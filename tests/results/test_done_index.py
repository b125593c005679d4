"""The current rows as arrays: found by path, read back by number, in tables of any shape."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.results.current_rows import hash_paths
from pipeline.results.done_index import OK, SETTLED, read_done_index
from pipeline.results.names import part_files
from pipeline.results.schema import SCHEMA
from tests.helpers.tables import FAILED, make_row, write_run


def find(index, *paths):
    return index.find(hash_paths(pa.array(paths, pa.string()))).tolist()


@pytest.fixture
def index(out, source):
    """Three runs: one with an empty part, one with rows of all kinds, one with a photo again."""
    write_run(out, source, [make_row("a"), make_row("b", fingerprint="f2", file_bytes=7)], [])
    broken, unreached = make_row("broken", **FAILED), make_row("unreached", **FAILED, content_hash=None)
    write_run(out, source, [broken, unreached], [replace(unreached, path="ü", error="Input/output error", mtime=-5)])
    write_run(out, source, [make_row("a", file_bytes=11)])
    return read_done_index(out)


def test_rows_are_found_by_path(index):
    assert len(index) == 6
    assert find(index, "nowhere", "a", "ü", "b", "a") == [-1, 5, 4, 1, 5]
    assert find(index) == []
    assert index.current_rows().tolist() == [1, 2, 3, 4, 5]


def test_values_stand_at_the_number_of_the_row(index):
    assert index.file_bytes.tolist() == [10, 7, 10, 10, 10, 11]
    assert index.mtime_ns.tolist()[3:] == [1_700_000_000_123_456_789, -5, 1_700_000_000_123_456_789]
    assert list(index.fingerprint_texts) == ["f1", "f2"]
    assert index.fingerprints.tolist() == [0, 1, 0, 0, 0, 0]
    assert index.states.tolist()[:3] == [OK, OK, SETTLED]
    assert index.states.tolist()[3:] == [index.error_texts["truncated"], index.error_texts["Input/output error"], OK]


def test_rows_are_read_part_by_part(index):
    rows = np.array([1, 3, 4])
    found = [(rows[place].tolist(), table["path"].to_pylist()) for place, table in index.read_rows(rows, ["path"])]
    assert found == [([1], ["b"]), ([3], ["unreached"]), ([4], ["ü"])]
    assert list(index.read_rows(np.array([], np.int64), ["path"])) == []


def test_a_table_without_rows_has_an_index(out, source):
    assert len(read_done_index(out)) == 0
    write_run(out, source, [])
    assert find(index := read_done_index(out), "a") == [-1]
    assert index.current_rows().tolist() == []


def test_every_row_of_many_parts_is_found(out, source):
    parts = [[make_row(f"{part}/{row}", file_bytes=part * 9 + row) for row in range(9)] for part in range(9)]
    write_run(out, source, *parts)
    index = read_done_index(out)
    paths = [f"{part}/{row}" for part in range(9) for row in range(9)]
    assert index.file_bytes[find(index, *paths)].tolist() == list(range(81))


def test_parts_of_other_columns_are_read(out, source):
    """Of old versions, without the later columns."""
    write_run(out, source, [make_row("a")])
    (part,) = part_files(out)
    assert SCHEMA.names[-1] == "detections"
    table = pq.read_table(part).drop_columns(["detections", "tile", "embedding", "unfamiliar", "decision", "more_maps"])
    pq.write_table(table, part)
    assert find(read_done_index(out), "a") == [0]
