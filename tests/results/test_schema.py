"""The columns of the table, the layout of a part, and every reader that opens it."""

from dataclasses import fields

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from pyarrow.dataset import dataset

from pipeline.results.schema import CATEGORY_COLUMNS, FLOAT_LIST_COLUMNS, SCHEMA, Row, to_table
from tests.helpers.tables import make_row, write_run


def test_rows_have_the_columns_of_the_schema():
    assert {field.name for field in fields(Row)} == set(SCHEMA.names)


def test_embeddings_of_any_width_and_none_are_lists():
    """As by `pa.array` alone, which takes a millisecond for each."""
    embeddings = [np.array([1.5, -2], np.float32), None, np.zeros(0, np.float32), np.array([65504], np.float32), None]
    table = to_table([make_row(f"{number}.jpg", embedding=values) for number, values in enumerate(embeddings)])
    assert table["embedding"].to_pylist() == [[1.5, -2], None, [], [65504], None]
    assert table.schema == SCHEMA
    table.validate(full=True)
    assert to_table([]).schema == SCHEMA


def test_part_has_the_contracts_layout(out, source):
    write_run(out, source, [make_row("a.jpg")])
    (part,) = (out / "table").iterdir()
    metadata = pq.read_metadata(part)
    columns = {
        metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i)
        for i in range(metadata.num_columns)
    }
    assert all(column.compression == "ZSTD" for column in columns.values())
    for name in FLOAT_LIST_COLUMNS:
        assert "BYTE_STREAM_SPLIT" in columns[f"{name}.list.element"].encodings, name
    for name, column in columns.items():
        assert any("DICTIONARY" in encoding for encoding in column.encodings) == (name in CATEGORY_COLUMNS), name
    assert metadata.metadata[b"schema_version"] == b"1"
    assert pq.read_schema(part).remove_metadata() == SCHEMA.remove_metadata()


def test_every_reader_sees_the_same_rows_across_grids(out, source):
    write_run(out, source, [make_row("a.jpg"), make_row("b.jpg", status="failed", error="truncated", label=None)])
    write_run(out, source, [make_row("c.jpg", grid=(4, 4), label="open")])
    pattern = f"{out}/table/*.parquet"

    frame = pd.read_parquet(out / "table").sort_values("path")
    assert frame["path"].tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert [len(values) for values in frame["attention"]] == [6, 6, 16]
    assert frame["mtime"].iloc[0].value == 1_700_000_000_123_456_789

    table = dataset(out / "table", format="parquet").to_table()
    assert sorted(table["path"].to_pylist()) == ["a.jpg", "b.jpg", "c.jpg"]

    rows = duckdb.sql(
        f"select path, label, len(attention), more_maps['article'][2] from '{pattern}' order by path"
    ).fetchall()
    assert rows == [("a.jpg", "short", 6, 2.5), ("b.jpg", None, 6, 2.5), ("c.jpg", "open", 16, 2.5)]

    lazy = pl.read_parquet(pattern).sort("path")
    assert lazy["label"].cast(pl.String).to_list() == ["short", None, "open"]
    assert lazy["attention"].list.len().to_list() == [6, 6, 16]
