"""Marked photos: areas of their defects, and the choice of photos."""

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError, DecodeError
from pipeline.records import ImageRef, Sample
from pipeline.trust.config import TrustConfig
from pipeline.trust.marked_photos import MarkedPhoto, choose_photos
from tests.trust.areas import area_of

REF = ImageRef("a.png", None, "a.png", 0, 0)


def make_sample(width, height):
    return Sample(REF, "", width, height, None, None, None)


def test_area_of_boxes_at_a_reduced_size():
    photo = MarkedPhoto(REF, boxes=((100, 200, 300, 400), (900, 0, 1024, 100)))
    area = photo.draw_defect_area(make_sample(1024, 768))
    assert area.shape == (384, 512)
    np.testing.assert_array_equal(area, area_of((50, 100, 150, 200), (450, 0, 512, 50), size=(384, 512)))


def test_a_small_defect_of_a_large_photo_stays(tmp_path):
    mask = np.zeros((3000, 4000), np.uint8)
    mask[1000:1003, 2000:2003] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    for photo in (MarkedPhoto(REF, boxes=((2000, 1000, 2003, 1003),)), MarkedPhoto(REF, mask=tmp_path / "a.png")):
        assert np.argwhere(photo.draw_defect_area(make_sample(4000, 3000))).tolist() == [[128, 256]]


def test_masks_are_read_and_checked(tmp_path):
    mask = np.zeros((30, 40), np.uint8)
    mask[5:10, 20:30] = 1  # as label images have it
    Image.fromarray(mask).save(tmp_path / "a.png")
    photo = MarkedPhoto(REF, mask=tmp_path / "a.png")
    np.testing.assert_array_equal(photo.draw_defect_area(make_sample(40, 30)), area_of((20, 5, 30, 10), size=(30, 40)))
    with pytest.raises(DecodeError, match=r"its mask .*a.png has 40 x 30 pixels, the photo 30 x 40"):
        photo.draw_defect_area(make_sample(30, 40))


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ((), "is empty, so pointing is not measured on it"),
        ((0, 0, 40, 30), "covers everything, so pointing is not measured on it"),
        ((0, 0, 40, 18), "covers 60% of the photo; black is background, perhaps it is inverted"),
        ((3, 3, 9, 9), ""),
    ],
)
def test_odd_masks_are_named(tmp_path, caplog, inside, words):
    area = area_of(inside, size=(30, 40)) if inside else np.zeros((30, 40), bool)
    Image.fromarray(area).save(tmp_path / "b.png")
    MarkedPhoto(REF, mask=tmp_path / "b.png").draw_defect_area(make_sample(40, 30))
    assert len(caplog.messages) == bool(words)
    assert words in caplog.text


def test_photos_are_drawn_with_a_seed(photos):
    def choose_paths(**settings):
        return [photo.ref.path for photo in choose_photos(TrustConfig(data=photos, out="trust", **settings))]

    assert len(choose_paths()) == 13
    assert choose_paths(limit=4, seed=1) == choose_paths(limit=4, seed=1) == choose_paths(seed=1)[:4]
    assert choose_paths(limit=4, seed=2) != choose_paths(limit=4, seed=1)
    boxes = photos / "labels.csv"
    assert len(choose_paths(boxes=boxes)) == 12


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("name,x0\na,1\n", "has no column 'path', only name, x0"),
        ("path,x0,y0\na,1,2\n", "has the columns x0, y0 of x0, y0, x1, y1; a box needs all four"),
        ("path,x0,y0,x1,y1\na,1,2,3,4\nb,5,1,5,9\n", r"are not a box in line 3 \(b\); correct the CSV"),
        ("path,x0,y0,x1,y1\na,1,2,3,four\n", r"are not a box in line 2 \(a\)"),
        ("path,split\na,holdout\n", r"split is none of train, validation, test in line 2 \(a\)"),
        ("path\n", "holds no photos; name a folder of photos or a CSV"),
    ],
)
def test_errors_of_a_csv_name_the_line(tmp_path, rows, message):
    (tmp_path / "data.csv").write_text(rows)
    with pytest.raises(DataError, match=message):
        choose_photos(TrustConfig(data=tmp_path / "data.csv", out=tmp_path / "out"))


def test_the_test_split_is_the_default(tmp_path):
    (tmp_path / "data.csv").write_text("path,split\na,train\nb,test\nc,val\n./d,test\n")

    def choose_paths(split):
        config = TrustConfig(data=tmp_path / "data.csv", split=split, out=tmp_path / "out")
        return sorted(photo.ref.path for photo in choose_photos(config))

    assert (choose_paths("auto"), choose_paths("validation"), choose_paths("all")) == (
        ["b", "d"],
        ["c"],
        ["a", "b", "c", "d"],
    )
