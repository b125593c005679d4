"""When the rows of an open part are committed, and when they are not."""

import pyarrow.parquet as pq
import pytest

from pipeline.results.folder import ResultsFolder
from pipeline.results.table_writer import TableWriter
from tests.helpers.tables import make_row


def test_writer_commits_by_rows_and_on_leaving_and_after_the_overlays(out, source):
    order = []
    with ResultsFolder(out, source) as results:
        parts = lambda: len(list((out / "table").iterdir()))  # noqa: E731
        with TableWriter(results, rows=3, seconds=3600, before_commit=lambda: order.append(parts())) as table:
            for name in "abcdefgh":
                table.add([make_row(name, run_id=results.run_id)])
        assert order == [0, 1, 2]
        assert [pq.read_metadata(part).num_rows for part in sorted((out / "table").iterdir())] == [3, 3, 2]


def test_writer_commits_by_time(out, source):
    with (
        ResultsFolder(out, source) as results,
        TableWriter(results, rows=1000, seconds=0.0, before_commit=lambda: None) as table,
    ):
        table.add([make_row("a", run_id=results.run_id)])
        assert len(list((out / "table").iterdir())) == 1


def test_writer_leaves_the_open_part_out_after_a_fault(out, source):
    def fill_and_fail(results):
        with TableWriter(results, rows=10, seconds=3600, before_commit=lambda: None) as table:
            table.add([make_row("a", run_id=results.run_id)])
            raise ZeroDivisionError

    with ResultsFolder(out, source) as results:
        with pytest.raises(ZeroDivisionError):
            fill_and_fail(results)
        assert not list((out / "table").iterdir())
        assert not list((out / "tmp").iterdir())
