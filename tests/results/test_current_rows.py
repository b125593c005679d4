"""The newest row of each path, against a slow reference; without pandas, whatever the parts hold."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import StoreError
from pipeline.results.current_rows import find_current_rows, hash_paths
from pipeline.results.schema import CATEGORY_COLUMNS, SCHEMA, to_table
from tests.helpers.tables import flip_a_bit, make_row


def write_parts(folder, parts):
    """Write lists of (path, run_id) as parts; return their files."""
    files = []
    for number, keys in enumerate(parts):
        rows = [make_row(path, run_id=run_id) for path, run_id in keys]
        table = to_table(rows) if rows else SCHEMA.empty_table()
        files.append(folder / f"part-20260101T000000Z-{number:05}.parquet")
        pq.write_table(table, files[-1], row_group_size=7, use_dictionary=CATEGORY_COLUMNS, write_page_checksum=True)
    return files


def reference_masks(parts):
    """Sort every row by run and place; the last one of each path is the newest."""
    keys = [(path, run_id, part, row) for part, rows in enumerate(parts) for row, (path, run_id) in enumerate(rows)]
    frame = pd.DataFrame(keys, columns=["path", "run_id", "part", "row"]).sort_values(["run_id", "part", "row"])
    newest = frame.drop_duplicates("path", keep="last")
    masks = [np.zeros(len(rows), bool) for rows in parts]
    for part, row in zip(newest["part"], newest["row"], strict=True):
        masks[part][row] = True
    return masks


@pytest.mark.parametrize("seed", range(12))
def test_random_tables(seed, tmp_path):
    """Rows replaced by later runs and by earlier parts of later runs, the same path twice in one run, empty parts."""
    draw = np.random.default_rng(seed)
    runs = [f"2026010{draw.integers(1, 10)}T00000{digit}Z" for digit in range(draw.integers(1, 6))]
    parts = [
        [(f"folder/ü {draw.integers(30)}.jpg", str(draw.choice(runs))) for _ in range(draw.integers(0, 25))]
        for _ in range(draw.integers(1, 7))
    ]
    parts.insert(int(draw.integers(len(parts))), [])
    found = find_current_rows(write_parts(tmp_path, parts))
    for mask, expected in zip(found, reference_masks(parts), strict=True):
        assert mask.dtype == bool
        assert mask.tolist() == expected.tolist()


def test_no_parts_and_parts_without_rows(tmp_path):
    assert find_current_rows([]) == []
    assert [mask.tolist() for mask in find_current_rows(write_parts(tmp_path, [[], []]))] == [[], []]


def test_later_run_wins_in_an_earlier_part(tmp_path):
    parts = [[("a", "20260102T000000Z")], [("a", "20260101T000000Z"), ("b", "20260101T000000Z")]]
    assert [mask.tolist() for mask in find_current_rows(write_parts(tmp_path, parts))] == [[True], [False, True]]


def test_hashes_are_those_of_python_in_every_slice_of_a_column(monkeypatch):
    monkeypatch.setattr("pipeline.results.current_rows._CHUNK", 3)
    texts = [f"ü/{number}.jpg" for number in range(11)] + [""]
    expected = [hash(text) % 2**64 for text in texts]
    assert hash_paths(pa.array(texts)).tolist() == expected
    assert hash_paths(pa.chunked_array([texts[:5], [], texts[5:]])).tolist() == expected
    assert hash_paths(pa.array([], pa.string())).tolist() == []


def test_damage_and_parts_gone_are_told_apart(tmp_path):
    files = write_parts(tmp_path, [[("a", "20260101T000000Z")], [("b", "20260101T000000Z")]])
    flip_a_bit(files[1], "path")
    with pytest.raises(StoreError, match="--repair"):
        find_current_rows(files)
    files[0].unlink()
    with pytest.raises(FileNotFoundError):
        find_current_rows(files)


def test_pandas_is_not_imported(tmp_path):
    (file,) = write_parts(tmp_path, [[("a", "20260101T000000Z"), ("a", "20260101T000000Z")]])
    code = (
        "import sys; from pathlib import Path; from pipeline.results.current_rows import find_current_rows\n"
        f"(mask,) = find_current_rows([Path({str(file)!r})]); assert mask.tolist() == [False, True]\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
