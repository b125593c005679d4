"""Exports of an archive for tests, and their files."""

import json

import pyarrow.parquet as pq

from pipeline.export.config import ExportConfig
from pipeline.export.export import export
from tests.export.archive import GROUPS

FLORENCE2_FOLDERS = ("train", "valid", "test")


def write_export(archive, out, name, **settings):
    """Export an archive in one format into `out`; return the folder."""
    settings = {"group": GROUPS} | settings
    export(ExportConfig(results=archive.results, out=out, format=name, **settings))
    return out


def read_lines(*files):
    """Read JSON Lines files, one after the other."""
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def files_of(folder):
    """Return the content of every file below a folder by its relative path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def read_florence2_lines(folder):
    """Return the lines of all splits, with the file of each picture, and the photo shown."""
    paths = paths_by_file(folder)
    return [
        line | {"file": folder / split / line["image"], "path": paths[f"{split}/{line['image']}"]}
        for split in FLORENCE2_FOLDERS
        for line in read_lines(folder / split / "annotations.jsonl")
    ]


def paths_by_file(folder):
    """Return the photo of each picture, as the manifest has it."""
    rows = pq.read_table(folder / "manifest.parquet").to_pylist()
    return {file: row["path"] for row in rows for file in row.get("tiles") or [row["file"]]}
