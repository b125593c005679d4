"""Hugging Face Parquet, read by the library."""

import io
from importlib import import_module

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.export.config import ExportConfig
from pipeline.export.export import export
from pipeline.export.formats import hf
from tests.export.archive import GROUPS


@pytest.mark.parametrize("way", ["folder", "parquet"])
def test_the_library_reads_features_and_pictures(exported, tmp_path, way):
    datasets = import_module("datasets")
    archive, out = exported
    place = str(out / "hf")
    if way == "folder":
        data = datasets.load_dataset(place, cache_dir=str(tmp_path))
    else:
        data = datasets.load_dataset("parquet", data_dir=f"{place}/data", cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in data.items()} == {"train": 25, "validation": 6, "test": 6}
    features = data["train"].features
    assert isinstance(features["image"], datasets.Image)
    assert features["label"].names == features["objects"]["category"].feature.names == ["ok", "open", "short"]
    for row in (row for rows in data.values() for row in rows):
        assert features["label"].int2str(row["label"]) == archive.labels[row["path"]]
        defect = archive.defects.get(row["path"])
        assert [features["label"].int2str(index) for index in row["objects"]["category"]] == (
            [defect.label] if defect else []
        )
        if defect:
            x, y, width, height = row["objects"]["bbox"][0]
            assert (x, y, x + width, y + height) == defect.box
        assert row["image"].size == (64, 48)


def test_a_split_without_any_box(archive, tmp_path):
    datasets = import_module("datasets")
    out = tmp_path / "data"
    export(ExportConfig(results=archive.results, out=out, format="hf", group=GROUPS, classes="ok"))
    data = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert all(row["objects"] == {"bbox": [], "category": []} for rows in data.values() for row in rows)


def test_large_splits_are_cut_into_shards(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(hf, "_SHARD_BYTES", 2000)
    out = tmp_path / "data"
    export(ExportConfig(results=archive.results, out=out, format="hf", group=GROUPS))
    shards = sorted((out / "data").glob("train-*.parquet"))
    count = len(shards)
    assert count > 2
    assert [file.name for file in shards] == [f"train-{n:05d}-of-{count:05d}.parquet" for n in range(count)]
    rows = [row for file in shards for row in pq.read_table(file).to_pylist()]
    assert len(rows) == 25
    assert Image.open(io.BytesIO(rows[0]["image"]["bytes"])).size == (64, 48)
