"""Small disks for the tests of the whole."""

import pytest

from tests.helpers.disks import small_disks


@pytest.fixture
def mount():
    """A function to mount a disk of a few megabytes on a folder: see `tests.helpers.disks`."""
    with small_disks() as mount_disk:
        yield mount_disk
