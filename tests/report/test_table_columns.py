"""Small columns of a table, and rows read by number."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.report.table_columns import read_table_columns
from pipeline.results.names import part_files
from tests.helpers.tables import FAILED, make_row, write_run


@pytest.fixture
def columns(tmp_path):
    """Two runs: the second replaces one row, and brings a failed photo and a label of its own."""
    first = [make_row("a.png"), make_row("b.png", label="open", score=0.5, decision="reject")]
    write_run(tmp_path / "out", tmp_path / "photos", first, [])
    second = [make_row("a.png", label="ok", content_hash="reviewed"), make_row("c.png", **FAILED)]
    write_run(tmp_path / "out", tmp_path / "photos", second)
    return read_table_columns(part_files(tmp_path / "out"), ["reviewed", "other"])


def test_one_element_a_row(columns):
    assert columns.ends.tolist() == [2, 2, 4]
    assert columns.is_current.tolist() == [False, True, True, True]
    assert columns.run.tolist() == [0, 0, 1, 1]
    assert columns.runs == sorted(columns.runs)
    assert [columns.label_name(label) for label in columns.label] == ["short", "open", "ok", "failed"]
    np.testing.assert_equal(columns.score, np.float32([0.75, 0.5, 0.75, np.nan]))
    assert columns.decision.tolist() == [-1, 2, -1, -1]
    assert columns.is_failed.tolist() == [False, False, False, True]
    assert columns.is_reviewed.tolist() == [False, False, True, False]
    assert columns.path_hash[0] == columns.path_hash[2]


def test_failed_rows_in_more_detail(columns):
    failures = columns.failures
    assert failures.row.tolist() == [3]
    assert failures.reasons[failures.reason[0]] == "truncated"
    assert failures.processed_at.tolist() == [1_700_000_000_000_000]
    assert failures.is_broken.tolist() == [True]


@pytest.mark.parametrize("rows", [[], [1], [0, 3], [0, 1, 2, 3]])
def test_rows_by_number(columns, rows):
    frame = columns.read_rows(np.array(rows, np.int64), ["path", "label"])
    assert frame["path"].tolist() == [["a.png", "b.png", "a.png", "c.png"][row] for row in rows]


def test_a_part_of_before_there_were_decisions(tmp_path):
    write_run(tmp_path / "out", tmp_path / "photos", [make_row("a.png"), make_row("b.png", label="open")])
    (part,) = part_files(tmp_path / "out")
    pq.write_table(pq.read_table(part).drop_columns(["decision"]), part)
    columns = read_table_columns([part])
    assert [columns.label_name(label) for label in columns.label] == ["short", "open"]
    assert columns.decision.tolist() == [-1, -1]
    assert columns.read_rows(np.array([1]), ["decision"])["decision"].isna().all()
