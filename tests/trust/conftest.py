"""Photos with boxes, shared by the tests of trust."""

import csv

import pytest

from tests.helpers.photos import save_photos


@pytest.fixture(scope="package")
def photos(tmp_path_factory):
    """Twelve photos of 40x48 with a box each, in a CSV, and one without."""
    folder = tmp_path_factory.mktemp("photos")
    names = save_photos(folder, 13)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "x0", "y0", "x1", "y1"])
        table.writerows([name, 4, 4, 20, 20] for name in names[:12])
        table.writerow([names[12], "", "", "", ""])
    return folder
