"""Small columns of a table, and rows read by number."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.report import table_columns
from pipeline.report.table_columns import read_table_columns
from pipeline.results.names import part_files
from tests.helpers.tables import FAILED, make_row, write_run


@pytest.fixture
def columns(tmp_path):
    """Two runs: the second replaces one row, and brings a failed photo and a label of its own."""
    first = [make_row("a.png"), make_row("b.png", label="open", score=0.5, decision="reject", unfamiliar=0.995)]
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
    np.testing.assert_equal(columns.unfamiliar, np.float32([np.nan, 0.995, np.nan, np.nan]))
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


def test_a_part_of_earlier_versions(tmp_path):
    write_run(tmp_path / "out", tmp_path / "photos", [make_row("a.png"), make_row("b.png", label="open")])
    (part,) = part_files(tmp_path / "out")
    pq.write_table(pq.read_table(part).drop_columns(["decision", "unfamiliar"]), part)
    columns = read_table_columns([part])
    assert [columns.label_name(label) for label in columns.label] == ["short", "open"]
    assert columns.decision.tolist() == [-1, -1]
    assert np.isnan(columns.unfamiliar).all()
    assert columns.read_rows(np.array([1]), ["decision"])["decision"].isna().all()


def test_parts_are_joined_in_blocks_and_keep_their_order(tmp_path, monkeypatch):
    parts = [[make_row(f"{part}-{row}.png", score=part + row / 10) for row in range(part % 4)] for part in range(12)]
    parts[7].append(make_row("failed.png", **FAILED))
    write_run(tmp_path / "out", tmp_path / "photos", *parts)
    whole = read_table_columns(part_files(tmp_path / "out"))
    monkeypatch.setattr(table_columns, "_BLOCK", 5)
    columns = read_table_columns(part_files(tmp_path / "out"))
    scores = [row.score for part in parts for row in part]
    np.testing.assert_equal(columns.score, np.float32([np.nan if score is None else score for score in scores]))
    assert columns.ends.tolist() == np.cumsum([len(part) for part in parts]).tolist()
    assert columns.failures.row.tolist() == [scores.index(None)]
    np.testing.assert_equal(columns.score, whole.score)
    assert read_table_columns([]).score.shape == (0,)
