"""Reading a results folder back: which rows are current, which of them are wanted, and what is read for that."""

import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, StoreError
from pipeline.results import read as results
from pipeline.results.compact import compact
from pipeline.results.read import part_files, read_part, read_results
from pipeline.results.schema import SCHEMA
from tests.helpers.tables import FAILED, flip_a_bit, make_row, write_run


@pytest.fixture
def out(tmp_path: Path, source: Path) -> Path:
    """Four runs over the same photos, each of two parts; labels and scores change from run to run, some photos fail."""
    chance = random.Random(5)
    for run in range(4):
        paths = [f"line-{line}/{number:02d}.jpg" for line in "ab" for number in range(20) if chance.random() < 0.6]
        chance.shuffle(paths)
        rows = [
            make_row(path, **FAILED)
            if chance.random() < 0.2
            else make_row(
                path,
                label=chance.choice(["ok", "short", "open"]),
                score=chance.random(),
                top_labels=["ok", "short", "open"][: chance.randint(1, 3)],
                note=f"run {run}",
            )
            for path in paths
        ]
        write_run(tmp_path / "out", source, rows[:9], rows[9:])
    return tmp_path / "out"


def newest(out: Path) -> list[dict]:
    """The newest row of each path, by plain Python over the parts."""
    rows: dict[str, dict] = {}
    for part in part_files(out):
        for row in read_part(part).to_pylist():
            if row["path"] not in rows or rows[row["path"]]["run_id"] <= row["run_id"]:
                rows[row["path"]] = row
    return [rows[path] for path in sorted(rows)]


CONDITIONS = {
    "one": ([("label", "==", "short")], lambda row: row["label"] == "short"),
    "both": (
        [("label", "in", ["short", "open"]), ("score", "<", 0.5)],
        lambda row: row["label"] in ("short", "open") and row["score"] < 0.5,
    ),
    "either": (
        [[("label", "==", "ok"), ("score", ">=", 0.7)], [("status", "==", "failed")]],
        lambda row: (row["label"] == "ok" and row["score"] >= 0.7) or row["status"] == "failed",
    ),
    "expression": (
        pc.starts_with(pc.field("path"), "line-b/") & pc.field("error").is_null(),
        lambda row: row["path"].startswith("line-b/") and row["error"] is None,
    ),
    "of lists": (
        pc.list_value_length(pc.field("top_labels")) > 2,
        lambda row: row["top_labels"] is not None and len(row["top_labels"]) > 2,
    ),
    "time": ([("mtime", ">", datetime(2023, 1, 1, tzinfo=UTC))], lambda row: True),
    "no condition": ([], lambda row: True),
}


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize(("where", "holds"), CONDITIONS.values(), ids=CONDITIONS.keys())
def test_where_selects_among_the_newest_rows(out, where, holds, compacted):
    rows = newest(out)
    assert len(rows) < sum(pq.read_metadata(part).num_rows for part in part_files(out)), "stale rows there are"
    if compacted:
        compact(out)
    expected = [(row["path"], row["run_id"]) for row in rows if holds(row)]
    found = read_results(out, where=where)
    assert list(zip(found["path"], found["run_id"], strict=True)) == expected
    every = read_results(out)
    of_these = every[every["path"].isin(found["path"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, of_these, check_categorical=False, check_dtype=False)  # no null, no float


def test_a_stale_row_never_stands_in_for_the_newest(tmp_path, source):
    folder = tmp_path / "out"
    write_run(folder, source, [make_row("a.jpg", label="short"), make_row("b.jpg", label="short")])
    write_run(folder, source, [make_row("a.jpg", label="ok"), make_row("b.jpg", **FAILED)])
    assert read_results(folder, where=[("label", "==", "short")]).empty
    assert read_results(folder, ["path"], where=[("label", "!=", "short")])["path"].tolist() == ["a.jpg"]


def test_where_may_name_columns_that_are_not_read(out):
    found = read_results(out, ["score"], where=[("label", "==", "short"), ("note", "==", "run 3")])
    assert list(found.columns) == ["score"]
    expected = [row["score"] for row in newest(out) if (row["label"], row["note"]) == ("short", "run 3")]
    assert found["score"].tolist() == pytest.approx(expected)
    assert expected


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ([("scores", "<", 0.5)], "no such column: scores; there are path, "),
        (pc.field("scores") < 0.5, "no such column: scores; there are path, "),
        ([("score", "<", "low")], "where can't be applied: .*float, string"),
        ([("label", "~", "s")], 'where can\'t be applied: "~" is not a valid operator'),
        (("label", "==", "short"), r"give it as \[\(\"label\", \"==\", \"short\"\)"),
        ({"label": "short"}, "where can't be applied"),
        ("label == 'short'", "where can't be applied"),
        (pc.field("score") + 1, "where can't be applied: .*must evaluate to bool"),
    ],
)
def test_where_that_means_nothing_is_refused(tmp_path, where, problem):
    (tmp_path / "table").mkdir()
    with pytest.raises(ConfigError, match=problem) as refusal:
        read_results(tmp_path, where=where)
    assert "\n" not in str(refusal.value)


def test_empty_table_has_the_columns(tmp_path):
    (tmp_path / "table").mkdir()
    assert list(read_results(tmp_path).columns) == SCHEMA.names
    found = read_results(tmp_path, ["label", "score"], where=[("score", "<", 0.5)])
    assert found.dtypes.astype(str).to_dict() == {"label": "category", "score": "float32"}
    assert found.empty


def test_where_on_a_column_that_old_parts_lack(tmp_path, source):
    folder = tmp_path / "out"
    write_run(folder, source, [make_row("a.jpg")])
    (part,) = part_files(folder)
    pq.write_table(pq.read_table(part).drop_columns(["overlay"]), part)
    write_run(folder, source, [make_row("b.jpg")])
    assert read_results(folder, ["path"], where=pc.field("overlay").is_null())["path"].tolist() == ["a.jpg"]


def test_only_parts_with_wanted_rows_are_read_in_full(tmp_path, source):
    """The maps of a part without such rows can't even be read here."""
    folder = tmp_path / "out"
    write_run(folder, source, [make_row("a.jpg", label="ok"), make_row("b.jpg", label="ok")], [make_row("c.jpg")])
    flip_a_bit(part_files(folder)[0], "attention.list.element")
    assert read_results(folder, where=[("label", "==", "short")])["path"].tolist() == ["c.jpg"]
    with pytest.raises(StoreError, match=r"00000\.parquet can't be read"):
        read_results(folder, where=[("label", "==", "ok")])


def test_damage_where_the_condition_looks_is_named(out):
    flip_a_bit(part_files(out)[3], "score")
    with pytest.raises(StoreError, match=f"{part_files(out)[3].name} can't be read"):
        read_results(out, ["path"], where=[("score", "<", 0.5)])


def test_compaction_between_choosing_the_rows_and_reading_them(out, monkeypatch):
    where = [("label", "==", "short")]
    expected = read_results(out, where=where)
    calls = []

    def read_and_compact(part, columns):
        calls.append(part)
        if len(calls) == 10:  # of 8 parts, so 8 have been read for their keys
            compact(out)
        return read_part(part, columns)

    monkeypatch.setattr(results, "read_part", read_and_compact)
    pd.testing.assert_frame_equal(read_results(out, where=where), expected, check_categorical=False)
    assert part_files(out) == calls[-1:], "read again, from the part that there is now"


def test_rows_that_a_killed_compaction_left_twice_are_one(out):
    expected = read_results(out)
    before = {part: part.read_bytes() for part in part_files(out)}
    compact(out)
    for part, content in before.items():
        part.write_bytes(content)
    pd.testing.assert_frame_equal(read_results(out), expected, check_categorical=False)


def maps_row(path, *methods, **changes):
    maps = [(method, np.arange(6, dtype=np.float32) + number) for number, method in enumerate(methods)]
    return make_row(path, more_maps=maps or None, **changes)


TABLES_WITH_MAPS = {
    "the same methods": [maps_row("a", "legrad", "rollout"), maps_row("b", "legrad", "rollout")],
    "other methods later": [maps_row("a", "legrad"), maps_row("b", "relevance", "legrad"), maps_row("c")],
    "one photo failed": [maps_row("a", "libragrad"), maps_row("b", **FAILED)],
    "no further methods": [maps_row("a"), maps_row("b")],
}


@pytest.mark.parametrize("rows", TABLES_WITH_MAPS.values(), ids=TABLES_WITH_MAPS)
def test_a_frame_goes_back_to_parquet_and_to_polars_with_all_its_columns(tmp_path, source, rows):
    write_run(tmp_path / "out", source, rows)
    frame = read_results(tmp_path / "out")
    assert [[*row.more_maps] if row.more_maps else [] for row in frame.itertuples()] == [
        [method for method, _ in row.more_maps or ()] for row in rows
    ]
    frame.to_parquet(tmp_path / "copy.parquet")
    again = pd.read_parquet(tmp_path / "copy.parquet")
    assert list(again.columns) == list(frame.columns)
    filled = frame.columns[frame.notna().any()].drop("more_maps", errors="ignore")  # nothing has no type elsewhere
    pd.testing.assert_frame_equal(again[filled], frame[filled], check_dtype=False)
    table = pl.from_pandas(frame)
    assert table["path"].to_list() == frame["path"].to_list()
    for before, *copies in zip(frame["more_maps"], again["more_maps"], table["more_maps"], strict=True):
        for copy in copies:  # as a struct: methods of other rows are there, without a map
            known = {method: values for method, values in (copy or {}).items() if values is not None}
            assert known.keys() == dict(before or {}).keys()
            for method, values in known.items():
                np.testing.assert_array_equal(values, before[method])
