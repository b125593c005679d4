"""Rows rewritten without a prediction: touched files, and photos judged again."""

import numpy as np

from pipeline.results.done_index import read_done_index
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import part_files
from pipeline.results.read import read_results
from pipeline.results.restamp import TouchedRows, restamp, split_touched
from tests.helpers.tables import make_row, write_run


def test_unchanged_files_get_their_new_mtime_once(out, source):
    write_run(out, source, [make_row("a.jpg", label="open"), make_row("b.jpg")], [make_row("c.jpg")])
    write_run(out, source, [make_row("a.jpg", label="short")])
    touched = split_touched(read_done_index(out), np.array([3, 2]), np.array([42_000_000_001, 42_000_000_003]))
    assert len(touched) == 2
    with ResultsFolder(out, source) as results:
        restamp(results, touched)
        run_id = results.run_id
    frame = read_results(out).set_index("path")
    assert len(frame) == 3
    assert frame["mtime"].astype("int64").to_dict() == {
        "a.jpg": 42_000_000_001,
        "b.jpg": 1_700_000_000_123_456_789,
        "c.jpg": 42_000_000_003,
    }
    assert frame.loc["a.jpg", "label"] == "short"
    assert frame.loc["c.jpg", "attention"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (frame["run_id"] == run_id).tolist() == [True, False, True]


def test_each_part_gets_one_of_its_own(out, source):
    """Memory stays that of a part, however many rows are touched."""
    write_run(out, source, *([make_row(f"{part}/{row}") for row in range(3)] for part in range(4)))
    rows = np.array([11, 0, 2, 10, 4])
    touched = split_touched(read_done_index(out), rows, rows * 1000)
    assert [part.rows.tolist() for part in touched.parts] == [[0, 2], [1], [1, 2]]
    assert [part.mtimes.tolist() for part in touched.parts] == [[0, 2000], [4000], [10000, 11000]]
    with ResultsFolder(out, source) as results:
        restamp(results, touched)
    assert len(part_files(out)) == 7
    stamps = read_results(out, ["path", "mtime"]).set_index("path")["mtime"].astype("int64")
    assert stamps[stamps < 20_000].to_dict() == {"0/0": 0, "0/2": 2000, "1/1": 4000, "3/1": 10000, "3/2": 11000}


def test_no_rows_no_part(out, source):
    with ResultsFolder(out, source) as results:
        restamp(results, TouchedRows())
    assert part_files(out) == []
    assert not TouchedRows()
