"""The map of the archive, from a table to the data file beside the page."""

import json
import re

import numpy as np
import pytest

from pipeline.report.archive import read_archive
from pipeline.report.archive_map import ArchiveMap
from pipeline.report.gallery_files import build_map_file
from tests.helpers.tables import FAILED, make_row, write_run

GROUPS = {"b": [0, 0, 0], "a": [8, 0, 0], "c": [0, 4, 0]}


def make_embedded_row(path, **changes):
    """Return a row with an embedding near those of its folder."""
    noise = np.random.default_rng(sum(map(ord, path))).normal(size=3) / 20
    return make_row(path, embedding=(GROUPS[path[0]] + noise).astype(np.float32), **changes)


def read_gallery(out):
    return read_archive(out, {}, most_shown=1000).gallery


def test_similar_photos_lie_close_together(tmp_path):
    """Rows of the table are in another order than those of the gallery."""
    paths = [f"{folder}/{number}.png" for number in range(20) for folder in GROUPS]
    rows = [make_embedded_row(path) for path in paths]
    write_run(tmp_path / "out", tmp_path / "photos", [make_row("b/failed.png", **FAILED), *rows])
    gallery = read_gallery(tmp_path / "out")
    folders = gallery.frame["path"].str[0].to_numpy()[gallery.map.places]
    assert sorted(gallery.map.places) == np.flatnonzero(gallery.frame["status"] == "ok").tolist()
    middles = [gallery.map.points[folders == folder].mean(axis=0) for folder in GROUPS]
    for folder, middle in zip(GROUPS, middles, strict=True):
        assert np.linalg.norm(gallery.map.points[folders == folder] - middle, axis=1).max() < 0.1
    far, near = (np.linalg.norm(middles[0] - middle) for middle in middles[1:])
    assert far / near == pytest.approx(2, abs=0.1)
    assert gallery.map.points.min(axis=0).tolist() == [0, 0]
    assert gallery.map.points.max() == 1


@pytest.mark.parametrize("embedded", [0, 1, 2])
def test_no_map_of_one_photo_or_two(tmp_path, embedded):
    rows = [make_embedded_row(f"a/{number}.png") for number in range(embedded)]
    write_run(tmp_path / "out", tmp_path / "photos", [*rows, make_row("z.png"), make_row("f.png", **FAILED)])
    assert read_gallery(tmp_path / "out").map is None


def test_equal_photos_lie_in_one_place(tmp_path):
    rows = [make_row(f"{number}.png", embedding=np.ones(4, np.float32)) for number in range(5)]
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    np.testing.assert_array_equal(read_gallery(tmp_path / "out").map.points, np.zeros((5, 2)))


def test_no_map_without_a_gallery(tmp_path):
    write_run(tmp_path / "out", tmp_path / "photos", [make_embedded_row(f"a/{number}.png") for number in range(5)])
    assert read_archive(tmp_path / "out", {}).gallery.map is None


def test_sentence():
    drawn = ArchiveMap(np.arange(5000), np.zeros((5000, 2)), "PCA, 40% of the variance")
    assert drawn.describe(10_000_000).endswith("spread over the labels (PCA, 40% of the variance).")
    assert "The map shows 5,000 of 10,000,000 photos, spread over the labels (" in drawn.describe(10_000_000)
    few = ArchiveMap(np.arange(40), np.zeros((40, 2)), "UMAP")
    assert few.describe(40).endswith("close together. The map shows 40 photos (UMAP).")
    assert few.describe(90).endswith("The map shows 40 of 90 photos (UMAP).")  # the others have no embeddings


def test_data_file():
    drawn = ArchiveMap(np.array([4, 2]), np.array([[0, 1], [1 / 3, 0]]), "PCA")
    name, content = build_map_file(drawn)
    assert name == "map.js"
    data = json.loads(re.fullmatch(r"vitrolloutMap\((.*)\);\n", content.decode())[1])
    assert data == {"row": [4, 2], "x": [0, 0.3333], "y": [1, 0]}
