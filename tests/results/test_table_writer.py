"""When the rows of a shard are committed, and when they are not."""

import pyarrow.parquet as pq
import pytest

from pipeline.results.files import ResultsFiles
from pipeline.results.folder import ResultsFolder
from pipeline.results.read import read_results
from pipeline.results.schema import to_table
from pipeline.results.table_writer import TableWriter
from tests.helpers.tables import make_row


def test_writer_commits_a_part_a_shard_after_its_overlays(out, source):
    order = []
    with ResultsFolder(out, source) as results:
        parts = lambda: len(list((out / "table").iterdir()))  # noqa: E731
        table = TableWriter(results, before_commit=lambda: order.append(parts()))
        for number, names in ((4, "abc"), (0, "def"), (7, "gh")):
            table.open_part(number)
            for name in names:
                table.add(to_table([make_row(name, run_id=results.run_id)]))
            assert table.commit({"profile": f"of {names}"})
        assert order == [0, 1, 2]
        committed = sorted((out / "table").iterdir())
        assert [part.stem[-5:] for part in committed] == ["00000", "00004", "00007"]
        assert [pq.read_metadata(part).num_rows for part in committed] == [3, 3, 2]
        assert [pq.read_metadata(part).metadata[b"profile"] for part in committed] == [b"of def", b"of abc", b"of gh"]


def test_writer_leaves_the_rows_of_another_part_out(out, source):
    with ResultsFolder(out, source) as results:
        table = TableWriter(results, before_commit=lambda: None)
        table.add(to_table([make_row("a", run_id=results.run_id)]))
        assert table.rows == 1
        table.open_part(1)
        assert table.rows == 0
        table.add(to_table([make_row("b", run_id=results.run_id)]))
        table.commit({})
        assert read_results(out)["path"].tolist() == ["b"]


@pytest.mark.parametrize("holds_lock", [True, False])
def test_a_part_is_committed_once(out, source, holds_lock):
    """A worker that comes late is refused, and the part of the first one stays."""
    with ResultsFolder(out, source) as results:
        late = results if holds_lock else ResultsFiles(out, str(source), results.run_id)
        for files, name, is_first in ((results, "a", True), (late, "b", False)):
            table = TableWriter(files, before_commit=lambda: None)
            table.open_part(3)
            table.add(to_table([make_row(name, run_id=results.run_id)]))
            assert table.commit({}) is is_first
        assert read_results(out)["path"].tolist() == ["a"]
        assert not list((out / "tmp").iterdir())
