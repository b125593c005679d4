"""A bucket for each test."""

import pytest


@pytest.fixture
def bucket(object_server):
    """The URL of a bucket without objects."""
    return object_server.make_bucket()
