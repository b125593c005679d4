"""Exports of an archive for tests, and their files."""

import json

from pipeline.export.config import ExportConfig
from pipeline.export.export import export
from tests.export.archive import GROUPS


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
