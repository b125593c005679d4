"""A results folder to review, and desks for it in this process."""

import pytest

from pipeline.review.config import ReviewConfig
from pipeline.review.desk import ReviewDesk
from tests.helpers.review_desk import PHOTOS
from tests.helpers.review_server import make_review_folder


@pytest.fixture
def out(tmp_path):
    return make_review_folder(tmp_path, PHOTOS)


@pytest.fixture
def open_desk(out):
    """A function to open a desk; all are closed at the end."""
    desks = []

    def open_one(**settings):
        desks.append(ReviewDesk(ReviewConfig(**{"out": out, "who": "anna", "audit": 0, **settings})))
        return desks[-1]

    yield open_one
    for desk in desks:
        desk.close()
