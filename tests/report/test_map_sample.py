"""The photos on the map of the archive: which ones, and how much is read for them."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.report import map_sample
from pipeline.report.map_sample import MOST_POINTS, choose_map_rows, read_map_photos
from pipeline.report.table_columns import read_table_columns
from pipeline.results.names import part_files
from tests.helpers.columns import make_columns
from tests.helpers.tables import FAILED, make_row, write_run


def make_embedded_row(number, **changes):
    """Return a row whose embedding begins with its number."""
    embedding = np.array([number, 1, 2], np.float32)
    return make_row(f"{number:04}.png", **{"embedding": embedding} | changes)


def read_photos(out):
    columns = read_table_columns(part_files(out))
    return read_map_photos(columns, np.flatnonzero(columns.is_current))


def test_a_small_table_is_on_the_map_as_a_whole():
    columns = make_columns(np.arange(90) % 3)
    np.testing.assert_array_equal(choose_map_rows(columns, np.arange(5, 90)), np.arange(5, 90))


def test_points_are_spread_over_the_labels():
    labels = np.zeros(100_000, np.int32)
    labels[::100] = 1
    labels[1::25] = 2
    chosen = choose_map_rows(make_columns(labels), np.arange(100_000))
    assert len(chosen) == MOST_POINTS
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(labels[chosen]).tolist() == [2000, 1000, 2000]


@pytest.mark.parametrize(("unfamiliar", "shown"), [(800, 800), (1250, 1250), (30_000, MOST_POINTS // 4)])
def test_unfamiliar_photos_come_first_up_to_a_share(unfamiliar, shown):
    labels = np.random.default_rng(1).integers(0, 3, 60_000)
    values = np.full(60_000, 0.5, np.float32)
    values[:unfamiliar] = 0.995
    chosen = choose_map_rows(make_columns(labels, unfamiliar=values), np.arange(60_000))
    assert len(chosen) == MOST_POINTS
    assert (values[chosen] > 0.99).sum() == pytest.approx(shown, abs=1)
    familiar = chosen[values[chosen] < 0.99]
    assert np.bincount(labels[familiar]).min() > len(familiar) / 3 - 5


def test_points_of_a_huge_table_come_from_a_limited_number_of_row_groups():
    rows = np.sort(np.random.default_rng(0).choice(10_000_000, 20_000, replace=False))
    columns = make_columns(np.zeros(10_000_000, np.int8))
    chosen = choose_map_rows(columns, rows)
    assert len(np.unique(chosen // 1024)) == 256
    assert set(chosen) <= set(rows)
    crowded = np.concatenate([np.arange(start, start + 40) for start in range(0, 10_000_000, 20_480)])
    assert len(choose_map_rows(columns, crowded)) == MOST_POINTS


def test_the_same_table_has_the_same_points():
    columns = make_columns(np.zeros(20_000, np.int32))
    first, second = (choose_map_rows(columns, np.arange(20_000)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_each_photo_has_its_own_embedding(tmp_path, monkeypatch):
    monkeypatch.setattr(map_sample, "_BLOCK", 4)
    monkeypatch.setattr(map_sample, "_BLOCKS_AT_ONCE", 2)
    rows = [make_embedded_row(number) for number in range(50)]
    rows[7] = make_row("0007.png", **FAILED)
    write_run(tmp_path / "out", tmp_path / "photos", rows[:20], [], rows[20:])
    photos = read_photos(tmp_path / "out")
    assert photos.rows.tolist() == [row for row in range(50) if row != 7]
    np.testing.assert_array_equal(photos.embeddings[:, 0], photos.rows)
    assert photos.embeddings.dtype == np.float32


def test_points_are_sought_where_embeddings_are(tmp_path, monkeypatch):
    """Embeddings were asked for later: of a small sample of all rows, few would have one."""
    monkeypatch.setattr(map_sample, "MOST_POINTS", 10)
    old = [make_row(f"old-{number:04}.png") for number in range(2048)]
    write_run(tmp_path / "out", tmp_path / "photos", old, [make_embedded_row(number) for number in range(30)])
    photos = read_photos(tmp_path / "out")
    assert len(photos.rows) == 10
    assert photos.rows.min() >= 2048


def test_no_embeddings_and_none_in_old_tables(tmp_path):
    write_run(tmp_path / "out", tmp_path / "photos", [make_row("a.png"), make_row("b.png", **FAILED)], [])
    assert read_photos(tmp_path / "out").embeddings.shape[0] == 0
    (part, *_) = part_files(tmp_path / "out")
    pq.write_table(pq.read_table(part).drop_columns(["embedding", "unfamiliar"]), part)
    assert len(read_photos(tmp_path / "out").rows) == 0


def test_every_photo_failed(tmp_path):
    write_run(tmp_path / "out", tmp_path / "photos", [make_row(f"{number}.png", **FAILED) for number in range(9)])
    assert len(read_photos(tmp_path / "out").rows) == 0


def test_only_the_model_with_most_photos(tmp_path):
    other = [make_embedded_row(number, fingerprint="f2") for number in range(5)]
    wide = [make_embedded_row(5, embedding=np.zeros(8, np.float32))]
    kept = [make_embedded_row(number, fingerprint="f1" + "-decision" * (number % 2)) for number in range(10, 17)]
    write_run(tmp_path / "out", tmp_path / "photos", other + wide + kept)
    assert read_photos(tmp_path / "out").embeddings[:, 0].tolist() == [*range(10, 17)]


def test_embeddings_that_overflowed_are_left_out(tmp_path):
    rows = [make_embedded_row(number) for number in range(4)]
    rows[2] = make_embedded_row(2, embedding=np.array([np.inf, 0, 0], np.float32))
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    assert read_photos(tmp_path / "out").rows.tolist() == [0, 1, 3]
