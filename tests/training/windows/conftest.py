"""Shared by the tests of training on windows: photos with boxes, and their windows."""

import pytest

from pipeline.labelled.read import read_labelled_photos
from pipeline.training.backbone import build_processor
from tests.helpers.boxed_photos import save_boxed_photos

SIDE = 48


@pytest.fixture(scope="session")
def boxes_csv(tmp_path_factory):
    """The CSV of nine photos, six of them with two boxes; not to be changed."""
    return save_boxed_photos(tmp_path_factory.mktemp("boxed") / "photos")


@pytest.fixture(scope="session")
def boxed(boxes_csv):
    """The photos of that CSV."""
    return read_labelled_photos(boxes_csv)


@pytest.fixture(scope="session")
def processor(tiny_checkpoint):
    """Of a tiny model with an input of 32 by 32 pixels."""
    return build_processor(tiny_checkpoint("vit"), 32)
