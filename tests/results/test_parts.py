"""A few rows of one part."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import StoreError
from pipeline.results.parts import find_filled_rows, read_part_rows
from pipeline.results.schema import to_table
from tests.helpers.tables import flip_a_bit, make_row

GROUPS = ([0, 3], [0, 4], [0, 9], [2], [3, 4, 5], [9], list(range(10)), [])


@pytest.fixture
def part(tmp_path):
    """Ten rows in groups of four; the part is older than the column of decisions."""
    table = to_table([make_row(f"{number}.png", score=number / 10) for number in range(10)]).drop_columns(["decision"])
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=4, use_dictionary=False, write_page_checksum=True)
    return tmp_path / "part.parquet"


@pytest.mark.parametrize("rows", GROUPS)
def test_rows_by_number(part, rows):
    table = read_part_rows(part, ["path", "decision", "top_labels"], np.array(rows, np.int64))
    assert table.column_names == ["path", "top_labels"]
    assert table["path"].to_pylist() == [f"{row}.png" for row in rows]


def test_only_row_groups_with_wanted_rows_are_read(part):
    flip_a_bit(part, "score")  # in the first group
    assert read_part_rows(part, ["score"], np.array([5])).num_rows == 1
    with pytest.raises(StoreError, match="can't be read"):
        read_part_rows(part, ["score"], np.array([2]))


def test_part_that_is_gone(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_part_rows(tmp_path / "part.parquet", ["path"], np.array([0]))


def test_rows_of_row_groups_with_values(tmp_path):
    embedding = np.array([1, 2], np.float32)
    rows = [make_row(f"{number}.png", embedding=embedding if number == 5 else None) for number in range(10)]
    table = to_table(rows)
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=4)
    assert find_filled_rows(tmp_path / "part.parquet", "embedding").tolist() == [False] * 4 + [True] * 4 + [False] * 2
    assert find_filled_rows(tmp_path / "part.parquet", "logits").all()
    assert not find_filled_rows(tmp_path / "part.parquet", "unfamiliar").any()


def test_values_are_expected_without_statistics_but_not_without_the_column(part, tmp_path):
    assert not find_filled_rows(part, "decision").any()
    pq.write_table(pq.read_table(part), tmp_path / "other.parquet", write_statistics=False)
    assert find_filled_rows(tmp_path / "other.parquet", "embedding").all()
    pq.write_table(pq.read_table(part).slice(0, 0), tmp_path / "empty.parquet")
    assert find_filled_rows(tmp_path / "empty.parquet", "embedding").tolist() == []
