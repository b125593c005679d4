"""What every exported folder says of itself: export.json, manifest.parquet and README.md."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.export.config import ExportConfig, FormatName
from pipeline.export.dataset import ExportDataset, ExportPhoto
from pipeline.export.folder import ExportFolder
from pipeline.export.format_table import FORMATS
from pipeline.markdown import markdown_table

EXPORT_FILE, MANIFEST_FILE, CARD_FILE = "export.json", "manifest.parquet", "README.md"

_MANIFEST_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("content_hash", pa.string()),
        ("file", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("n_boxes", pa.int32()),
        ("reviewed_by", pa.list_(pa.string())),
        ("label_source", pa.string()),
        ("left_out", pa.string()),
        ("detail", pa.string()),
    ]
)
_TILES = pa.field("tiles", pa.list_(pa.string()))


def describe_export(name: FormatName, dataset: ExportDataset, config: ExportConfig) -> dict[str, Any]:
    """Return the content of export.json. It holds no times and no folder names, so equal exports are equal bytes."""
    origin = dataset.origin
    return {
        "format": name,
        "licence": config.licence,
        "classes": [{"id": each.id, "name": each.name} for each in dataset.classes],
        "photos": dataset.count_photos(),
        "boxes": dataset.box_count,
        "without_boxes": sum(not photo.boxes for photo in dataset.photos),
        "tiles": _count_tiles(dataset, config),
        "left_out": dataset.count_left_out(),
        "group": origin.group,
        "shares": list(origin.shares),
        "runs": list(origin.runs),
        "fingerprints": list(origin.fingerprints),
        "newest_review": origin.newest_review,
    }


def write_manifest(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write a row for every photo of the results folder, exported or not."""
    pictures: dict[str, list[ExportPhoto]] = {}
    for photo in dataset.photos:
        pictures.setdefault(photo.content_hash, []).append(photo)
    rows = []
    for row in dataset.rows:
        shown = pictures.get(row.content_hash or "", []) if row.left_out is None else []
        files = [folder.places[photo.name] for photo in shown if photo.name in folder.places]
        first = shown[0] if shown else None
        rows.append(
            {
                "path": row.path,
                "content_hash": row.content_hash,
                "file": files[0] if len(files) == 1 else None,
                "split": first and first.split,
                "group": first and first.group,
                "label": first.label if first else row.label,
                "n_boxes": sum(len(photo.boxes) for photo in shown) if first else None,
                "reviewed_by": list(row.who),
                "label_source": first and first.source,
                "left_out": row.left_out,
                "detail": row.detail,
                "tiles": files if len(files) > 1 else None,
            }
        )
    schema = _MANIFEST_SCHEMA.append(_TILES) if config.tiles else _MANIFEST_SCHEMA
    folder.write_table(MANIFEST_FILE, pa.Table.from_pylist(rows, schema))


def format_card(name: FormatName, dataset: ExportDataset, config: ExportConfig) -> str:
    """Format the data set card, README.md."""
    about = describe_export(name, dataset, config)
    good = sum(photo.is_good for photo in dataset.photos)
    parts = [
        f"---\nlicense: {_quote(config.licence)}\n{FORMATS[name].card_header(dataset)}---",
        f"# Data set, {FORMATS[name].title}",
        f"{len(dataset.photos)} pictures and {dataset.box_count} boxes, exported by vitrollout from reviewed photos. "
        f"{good} pictures show no defect.",
        _format_counts(dataset),
        *_format_tiles(dataset, config),
        "## Reading it",
        FORMATS[name].usage.strip(),
        "## Classes",
        markdown_table(["id", "class"], [(each.id, each.name) for each in dataset.classes]),
        "## Splits",
        f"Photos of one group are on one side of the split (`--group {about['group']}`), with shares of "
        f"{', '.join(f'{share:g}' for share in about['shares'])} for train, validation and test. A photo keeps its "
        "split in later exports.",
        "## Left out",
        markdown_table(["reason", "photos"], list(about["left_out"].items())) if about["left_out"] else "None.",
        "`manifest.parquet` has a row for every photo of the archive, with its file here or the reason for its "
        "absence. Pictures are upright, 8 bits, RGB or grey: photos of that kind byte for byte, all others as PNG.",
    ]
    return "\n\n".join(parts) + "\n"


def _count_tiles(dataset: ExportDataset, config: ExportConfig) -> dict[str, int | None] | None:
    """Count the tiles and their photos; None without tiles."""
    tiles = [photo for photo in dataset.photos if photo.window is not None]
    if not tiles:
        return None
    return {"side": config.tiles, "pictures": len(tiles), "photos": len({tile.content_hash for tile in tiles})}


def _format_tiles(dataset: ExportDataset, config: ExportConfig) -> list[str]:
    tiles = _count_tiles(dataset, config)
    if tiles is None:
        return []
    return [
        f"{tiles['photos']} photos larger than {tiles['side']} pixels are cut into {tiles['pictures']} overlapping "
        "tiles of that size. `-x` and `-y` in a name tell the place of the tile in its photo."
    ]


def _format_counts(dataset: ExportDataset) -> str:
    counts = dataset.count_photos()
    labels = [name for name in dataset.class_names if any(name in per_label for per_label in counts.values())]
    rows: list[Sequence[object]] = [
        (label, *(per_label.get(label, 0) for per_label in counts.values())) for label in labels
    ]
    totals = ("all", *(sum(per_label.values()) for per_label in counts.values()))
    return markdown_table(["photos", *counts], [*rows, totals])


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
