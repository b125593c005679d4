"""Masks found by their names, in the layouts of common data sets; never the photo itself."""

import os

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError
from pipeline.trust.config import TrustConfig
from pipeline.trust.marked_photos import choose_photos
from pipeline.trust.mask_files import find_masks


def save_pictures(folder, *names, value=0):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(file)
        value += 1


def masks_of(data, **settings):
    """Return the masks of the photos chosen, by path, relative to the folder over all."""
    photos = choose_photos(TrustConfig(data=data, out="trust", **settings))
    return {photo.ref.path: photo.mask and photo.mask.name for photo in photos}


def files_found(data, masks):
    photos = [(path.relative_to(data).as_posix(), path) for path in sorted(data.rglob("*.*")) if path.is_file()]
    return {path: file.relative_to(masks).as_posix() for path, file in find_masks(photos, masks, data).items()}


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("part/a.jpg", "part/a.png"),
        ("part/a.jpg", "part/a.TIF"),
        ("part/a.jpg", "part/a.jpg"),
        ("part/a.jpg", "part/a.jpg.png"),
        ("part/a.jpg", "part/a_mask.bmp"),
        ("part/a.png", "part/a_gt.png"),
        ("part/a.png", "a_label.png"),
        ("lot/part/a.b.png", "part/a.b.png"),
        ("part/images/a.jpg", "part/masks/a.png"),
        ("test/scratch/000.png", "ground_truth/scratch/000_mask.png"),
    ],
)
def test_names_and_layouts(tmp_path, photo, mask):
    save_pictures(tmp_path / "photos", photo)
    save_pictures(tmp_path / "marks", mask, "other.png")
    assert files_found(tmp_path / "photos", tmp_path / "marks") == {photo: mask}


def test_whole_mvtec_category(tmp_path):
    """The good photos of the same names get no mask of a broken one."""
    save_pictures(tmp_path / "b", "train/good/000.png", "test/good/000.png", "test/cut/000.png", "test/hole/000.png")
    save_pictures(tmp_path / "b", "ground_truth/cut/000_mask.png", "ground_truth/hole/000_mask.png", value=9)
    expected = {"test/cut/000.png": "cut/000_mask.png", "test/hole/000.png": "hole/000_mask.png"}
    photos = choose_photos(TrustConfig(data=tmp_path / "b", out="trust"))
    found = {photo.ref.path: photo.mask.relative_to(tmp_path / "b" / "ground_truth").as_posix() for photo in photos}
    assert found == expected
    assert masks_of(tmp_path / "b" / "test", masks=tmp_path / "b" / "ground_truth").keys() == {
        "cut/000.png",
        "hole/000.png",
    }


def test_beside_the_photos(tmp_path):
    save_pictures(tmp_path, "a.png", "a_mask.png", "b.jpg", "b.png", "c.png", "d.png", "d.tif")
    assert masks_of(tmp_path, masks=tmp_path) == {"a.png": "a_mask.png", "b.jpg": "b.png"}


def test_masks_among_the_photos_are_named(tmp_path, caplog):
    save_pictures(tmp_path, "a.png", "a_mask.png", "b.png")
    assert masks_of(tmp_path) == {"a.png": None, "a_mask.png": None, "b.png": None}
    assert f"1 photos look like masks (a_mask); --masks {tmp_path} takes them for masks" in caplog.text


@pytest.mark.parametrize("names", [("a.png", "b/c.png"), ("a.jpg",)])
def test_a_photo_is_never_its_own_mask(tmp_path, names):
    """Neither by an absolute path in a CSV, nor where the masks' folder holds the photos, nor by a link."""
    photos, empty, links = (tmp_path / name for name in ("photos", "empty", "links"))
    save_pictures(photos, *names)
    empty.mkdir()
    links.mkdir()
    for name in names:
        (links / name).parent.mkdir(exist_ok=True)
        os.link(photos / name, links / name)
    table = tmp_path / "list" / "photos.csv"
    table.parent.mkdir()
    table.write_text("path\n" + "".join(f"{photos / name}\n" for name in names))
    for data in (table, photos):
        for folder in (empty, links, photos):
            with pytest.raises(DataError, match=r"none of the \d+ pictures in .* is named like a photo of .*a_gt.png"):
                masks_of(data, masks=folder)
    save_pictures(tmp_path / "marks", "a.png", value=100)
    assert masks_of(table, masks=tmp_path / "marks") == {str(photos / names[0]): "a.png"}


def test_a_mask_of_two_photos_is_refused(tmp_path):
    save_pictures(tmp_path / "photos", "left/0.png", "right/0.png")
    save_pictures(tmp_path / "marks", "0.png")
    with pytest.raises(DataError, match=r"0.png is the mask of left/0.png, right/0.png; give the masks the subfolders"):
        masks_of(tmp_path / "photos", masks=tmp_path / "marks")
    save_pictures(tmp_path / "photos", "0.png")
    assert masks_of(tmp_path / "photos", masks=tmp_path / "marks") == {"0.png": "0.png"}  # it has the better right


def test_a_folder_called_masks_that_fits_no_photo_is_named(tmp_path, caplog):
    save_pictures(tmp_path, "a.png", "masks/z.png")
    assert masks_of(tmp_path) == {"a.png": None}
    assert "none of the 1 pictures in" in caplog.text


def test_boxes_of_absolute_paths(tmp_path):
    save_pictures(tmp_path / "photos", "a.png", "b/c.png")
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(f"path,x0,y0,x1,y1\n{tmp_path}/photos/b/c.png,1,2,3,4\n")
    (chosen,) = choose_photos(TrustConfig(data=tmp_path / "photos", boxes=boxes, out="trust"))
    assert (chosen.ref.path, chosen.boxes) == ("b/c.png", ((1, 2, 3, 4),))
