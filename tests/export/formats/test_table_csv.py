"""CSV files, read by our own commands and by pandas."""

from collections import Counter

import pandas as pd

from pipeline.labelled.read import read_labelled_photos
from pipeline.trust.config import TrustConfig
from tests.export.formats.boxes import original_paths


def test_our_own_reader_takes_labels_and_splits(exported):
    archive, out = exported
    photos = read_labelled_photos(out / "csv/labels.csv")
    paths = original_paths(out / "csv")
    assert {paths[photo.file.name]: photo.label for photo in photos} == archive.labels
    assert Counter(photo.split for photo in photos) == {"train": 25, "validation": 6, "test": 6}


def test_boxes(exported):
    archive, out = exported
    paths = original_paths(out / "csv")
    boxes = pd.read_csv(out / "csv/boxes.csv")
    found = {
        paths[row.path.rpartition("/")[2]]: ((row.x0, row.y0, row.x1, row.y1), row.label) for row in boxes.itertuples()
    }
    assert found == {path: (defect.box, defect.label) for path, defect in archive.defects.items()}


def test_trust_takes_the_boxes(exported):
    _, out = exported
    TrustConfig(data=out / "csv/labels.csv", boxes=out / "csv/boxes.csv", out=out.parent / "trust")
