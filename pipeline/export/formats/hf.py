"""Hugging Face Parquet: pictures and labels in the same files, with the features declared for the library."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportDataset, ExportPhoto
from pipeline.export.folder import ExportFolder
from pipeline.export.formats.hf_features import IMAGE, build_metadata, label_of, list_of, value_of

USAGE = """\
Parquet files with the pictures inside. `objects.bbox` is `[x, y, width, height]` in pixels. Where `boxes_complete` is
false, defects may lack their box: leave these photos out of a detector's training.

    datasets.load_dataset(".")
    datasets.load_dataset("parquet", data_files={"train": "data/train-*.parquet"})
"""

_SHARD_BYTES = 500_000_000
_ROW_GROUP = 100
_TEXTS = ("path", "content_hash", "group", "label_source")


def write_hf(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write the shards of each split with photos."""
    schema = _build_schema(dataset.class_names)
    for split, photos in dataset.by_split.items():
        shards = _cut_shards(photos, folder)
        for number, shard in enumerate(shards):
            name = f"data/{split}-{number:05d}-of-{len(shards):05d}.parquet"
            folder.write_batches(name, schema, _build_row_groups(shard, schema, folder))
            folder.places.update((photo.name, name) for photo in shard)


def format_card_header(dataset: ExportDataset) -> str:
    """Format the YAML of the data set card for Hugging Face's hub: the files of each split, and the features."""
    files = [{"split": split, "path": f"data/{split}-*"} for split, photos in dataset.by_split.items() if photos]
    of_class = {"class_label": {"names": {str(each.id): each.name for each in dataset.classes}}}
    boxes = [{"name": "bbox", "list": {"list": "float32"}}, {"name": "category", "list": of_class}]
    features = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": of_class},
        {"name": "objects", "struct": boxes},
        {"name": "boxes_complete", "dtype": "bool"},
        *({"name": name, "dtype": "string"} for name in _TEXTS),
        {"name": "reviewed_by", "list": "string"},
    ]
    values = {
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"features": features},
    }
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())  # as YAML


def _cut_shards(photos: Sequence[ExportPhoto], folder: ExportFolder) -> list[list[ExportPhoto]]:
    """Cut photos into shards of about the same number of bytes; no shard for no photos."""
    shards: list[list[ExportPhoto]] = []
    size = _SHARD_BYTES
    for photo in photos:
        if size >= _SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(photo)
        size += folder.measure_picture(photo)
    return shards


def _build_row_groups(photos: Sequence[ExportPhoto], schema: pa.Schema, folder: ExportFolder) -> Iterator[pa.Table]:
    for start in range(0, len(photos), _ROW_GROUP):
        rows = [_build_row(photo, folder) for photo in photos[start : start + _ROW_GROUP]]
        yield pa.Table.from_pylist(rows, schema)


def _build_row(photo: ExportPhoto, folder: ExportFolder) -> dict[str, Any]:
    return {
        "image": {"bytes": folder.read_picture(photo), "path": photo.name},
        "label": photo.class_id,
        "objects": {
            "bbox": [[box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0] for box in photo.boxes],
            "category": [box.class_id for box in photo.boxes],
        },
        "boxes_complete": photo.boxes_complete,
        "path": photo.path,
        "content_hash": photo.content_hash,
        "group": photo.group,
        "label_source": photo.source,
        "reviewed_by": list(photo.who),
    }


def _build_schema(class_names: Sequence[str]) -> pa.Schema:
    boxes = pa.struct([("bbox", pa.list_(pa.list_(pa.float32()))), ("category", pa.list_(pa.int64()))])
    columns = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.int64()),
        ("objects", boxes),
        ("boxes_complete", pa.bool_()),
        *((name, pa.string()) for name in _TEXTS),
        ("reviewed_by", pa.list_(pa.string())),
    ]
    of_class = label_of(class_names)
    features = {
        "image": IMAGE,
        "label": of_class,
        "objects": {"bbox": list_of(list_of(value_of("float32"))), "category": list_of(of_class)},
        "boxes_complete": value_of("bool"),
        **dict.fromkeys(_TEXTS, value_of("string")),
        "reviewed_by": list_of(value_of("string")),
    }
    return pa.schema(columns, metadata=build_metadata(features))
