"""A reviewed archive for all tests of an export, made once and copied."""

import shutil
from dataclasses import replace

import pytest

from tests.export.archive import make_archive, review_photos


@pytest.fixture(scope="session")
def _pristine_archive(tmp_path_factory, tiny_vit):
    archive = make_archive(tmp_path_factory.mktemp("archive"), tiny_vit)
    review_photos(archive)
    return archive


@pytest.fixture
def archive(_pristine_archive, tmp_path):
    """A reviewed archive to change: the photos are shared, the results folder is the test's own."""
    results = tmp_path / "results"
    shutil.copytree(_pristine_archive.results, results)
    return replace(_pristine_archive, results=results)
