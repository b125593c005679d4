"""A reviewed archive for all tests of an export, made once and copied."""

import shutil
from dataclasses import replace

import pytest

from pipeline.export.config import FORMAT_NAMES, ExportConfig
from pipeline.export.export import export
from tests.export.archive import GROUPS, make_archive, review_photos


@pytest.fixture(scope="session")
def reviewed_archive(tmp_path_factory, tiny_vit):
    """An archive with a complete review of every photo; not to be changed."""
    archive = make_archive(tmp_path_factory.mktemp("archive"), tiny_vit)
    review_photos(archive)
    return archive


@pytest.fixture
def archive(reviewed_archive, tmp_path):
    """The same, with a results folder to change; the photos are shared."""
    return _copy_archive(reviewed_archive, tmp_path)


@pytest.fixture
def unreviewed(archive):
    """An archive nobody has reviewed."""
    for file in (archive.results / "reviews").glob("*.jsonl"):
        file.unlink()
    return archive


@pytest.fixture(scope="session")
def exported(reviewed_archive, tmp_path_factory):
    """The reviewed archive, and an export of it in every format, a subfolder each; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    archive = _copy_archive(reviewed_archive, folder)
    export(ExportConfig(results=archive.results, out=folder / "data", format=FORMAT_NAMES, group=GROUPS))
    return archive, folder / "data"


def _copy_archive(archive, folder):
    """Copy an archive; the results folder goes on naming the photos of the original as its input."""
    shutil.copytree(archive.results, folder / "results")
    return replace(archive, results=folder / "results")
