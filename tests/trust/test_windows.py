"""Large photos: one window of each is measured, with the marks inside it."""

import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.model.predictor import Predictor
from pipeline.photos.tiling import Tiling
from pipeline.records import ImageRef
from pipeline.trust.config import TrustConfig
from pipeline.trust.marked_photos import MarkedPhoto
from pipeline.trust.measure import trust
from pipeline.trust.read_samples import SampleReader, WindowRule

BOX = (130.0, 20.0, 150.0, 44.0)
SIZE = (200, 120)


@pytest.fixture(scope="module")
def reader(tiny_vit):
    """A reader of windows of 64 pixels, for a model without a good class: its most likely label decides."""
    classifier = load_classifier(resolve_checkpoint(str(tiny_vit)), device="cpu", precision="fp32").for_windows()
    predictor = Predictor(classifier, MapPlan(()), 4)
    return SampleReader(classifier, predictor, WindowRule(Tiling(64), ()), lambda: False)


@pytest.fixture
def photo(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    file = tmp_path / "large.png"
    Image.fromarray(noise).save(file)
    return ImageRef("large.png", None, str(file), 0, 0)


def read(reader, marked):
    ((samples, failures),) = reader.read([marked])
    assert not failures
    return samples[0]


def score_windows(reader, photo):
    """Return the highest probability in each window, cut by hand, by its box."""
    with Image.open(photo.file) as image:
        image.load()
    scores = {}
    for box in Tiling(64).cut(*image.size):
        image.crop(box).save(f"{photo.file}.{box}.png")
        alone = ImageRef("window.png", None, f"{photo.file}.{box}.png", 0, 0)
        sample, _ = read(reader, MarkedPhoto(alone))
        logits = reader._predictor.predict([sample.pixels]).logits[0]
        scores[box] = float(np.exp(logits).max() / np.exp(logits).sum())
    return scores


def test_the_surest_window_is_measured(reader, photo):
    sample, marked = read(reader, MarkedPhoto(photo))
    scores = score_windows(reader, photo)
    assert marked.window == max(scores, key=scores.get)
    assert (sample.width, sample.height, sample.tiles) == (64, 64, None)


def test_of_marked_photos_it_shows_a_whole_box(reader, photo):
    """The surest of the windows around the box, and the box moves into it; a second one outside is left out."""
    sample, marked = read(reader, MarkedPhoto(photo, boxes=(BOX, (0.0, 100.0, 10.0, 120.0))))
    scores = score_windows(reader, photo)
    around = [
        box for box in scores
        if (box[0] <= BOX[0] and box[1] <= BOX[1] and box[2] >= BOX[2] and box[3] >= BOX[3])
        or (box[0] <= 0 and box[1] <= 100 and box[2] >= 10 and box[3] >= 120)
    ]  # fmt: skip
    assert marked.window == max(around, key=scores.get)
    (inside,) = marked.boxes
    left, top = marked.window[:2]
    original = BOX if marked.window[0] > 10 else (0.0, 100.0, 10.0, 120.0)
    assert inside == tuple(np.array(original) - [left, top, left, top])
    area = marked.draw_defect_area(sample)
    assert area.shape == (64, 64)
    x0, y0, x1, y1 = map(int, inside)
    assert area[y0:y1, x0:x1].all()
    assert area.sum() == (x1 - x0) * (y1 - y0)


def test_masks_are_cut_as_the_photo(reader, photo, tmp_path):
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[20:44, 130:150] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    sample, marked = read(reader, MarkedPhoto(photo, mask=tmp_path / "mask.png"))
    left, top, right, bottom = marked.window
    np.testing.assert_array_equal(marked.draw_defect_area(sample), mask[top:bottom, left:right] > 0)
    assert marked.draw_defect_area(sample).sum() == 24 * 20


def test_a_box_outside_its_photo_is_named(reader, photo):
    ((samples, failures),) = reader.read([MarkedPhoto(photo, boxes=((500.0, 0.0, 510.0, 10.0),))])
    assert not samples
    assert "lies outside its 200 x 120 pixels" in failures[0].reason


def test_a_measurement_of_windows_as_a_whole(tiny_vit, tmp_path):
    with (tmp_path / "boxes.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "x0", "y0", "x1", "y1"])
        for number in range(3):
            noise = np.random.default_rng(number).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / f"{number}.png")
            rows.writerow([f"{number}.png", *BOX])
    settings = {
        "data": tmp_path / "boxes.csv",
        "model": str(tiny_vit),
        "precision": "fp32",
        "resamples": 10,
        "steps": 2,
    }
    report = trust(TrustConfig(out=tmp_path / "out", tile=64, methods="libragrad", **settings))
    assert report.photos == 3
    table = pd.read_parquet(tmp_path / "out" / "trust.parquet")
    assert set(table["path"]) == {"0.png", "1.png", "2.png"}
    assert table.loc[table["method"] == "libragrad", "mass_grid"].notna().all()
    whole = trust(TrustConfig(out=tmp_path / "whole", tile="none", methods="libragrad", **settings))
    mass = [[one.metrics()["mass_grid"] for one in each.maps if one.method == "libragrad"] for each in (report, whole)]
    assert mass[0] != pytest.approx(mass[1])
