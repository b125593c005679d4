import io
import json
import os
from types import SimpleNamespace

import pytest
from PIL import Image

from pipeline.results.names import thumbnail_name
from pipeline.review.pictures import Pictures
from pipeline.review.refusals import PhotoChangedError, PictureMissingError
from pipeline.review.renditions import render
from pipeline.review.row_maps import MapReader
from pipeline.review.rows import read_rows
from tests.helpers.image_files import encoded, looks_like_quadrants, quadrants, with_orientation
from tests.helpers.review_server import photo_row
from tests.helpers.tables import make_record, write_run

IN_THIS_PROCESS = SimpleNamespace(render=render)  # tests of the workers are in test_renditions


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path


def make_pictures(folder, *names, **columns):
    write_run(folder / "out", folder / "photos", [photo_row(folder / "photos", name, **columns) for name in names])
    rows = read_rows(folder / "out")
    return Pictures(rows, MapReader(rows), IN_THIS_PROCESS)


def test_original_bytes_where_browsers_show_them(folder):
    content = with_orientation(quadrants(), "JPEG", 6)
    (folder / "photos" / "a.jpg").write_bytes(content)
    picture = make_pictures(folder, "a.jpg").photo(0)
    assert (picture.content, picture.media_type) == (content, "image/jpeg")


def test_type_is_that_of_the_content_not_of_the_name(folder):
    (folder / "photos" / "a.jpg").write_bytes(encoded(quadrants(), "TIFF"))
    picture = make_pictures(folder, "a.jpg").photo(0)
    assert picture.media_type == "image/png"
    assert looks_like_quadrants(Image.open(io.BytesIO(picture.content)))


def test_touched_photo_is_still_the_same(folder):
    photo = folder / "photos" / "a.png"
    photo.write_bytes(encoded(quadrants(), "PNG"))
    pictures = make_pictures(folder, "a.png")
    os.utime(photo, ns=(1, 1))
    assert pictures.photo(0).content == photo.read_bytes()


def test_changed_photo_is_not_shown(folder):
    photo = folder / "photos" / "a.png"
    photo.write_bytes(encoded(quadrants(), "PNG"))
    pictures = make_pictures(folder, "a.png")
    photo.write_bytes(encoded(quadrants(60, 40), "PNG"))
    for read in (pictures.photo, pictures.thumbnail):
        with pytest.raises(PhotoChangedError, match=r"^a.png has changed since the run; run vitrollout again"):
            read(0)


def test_photo_gone(folder):
    photo = folder / "photos" / "a.png"
    photo.write_bytes(encoded(quadrants(), "PNG"))
    pictures = make_pictures(folder, "a.png")
    photo.unlink()
    with pytest.raises(PictureMissingError, match=r"^a.png can't be read: No such file"):
        pictures.photo(0)


def test_photo_out_of_the_input_folder(folder):
    (folder / "secret.png").write_bytes(encoded(quadrants(), "PNG"))
    pictures = make_pictures(folder, "../secret.png")
    with pytest.raises(PictureMissingError, match="leads out of the input folder"):
        pictures.photo(0)


def test_thumbnail_from_the_run_without_its_overlay(folder):
    (folder / "photos" / "a.png").write_bytes(encoded(quadrants(), "PNG"))
    pictures = make_pictures(folder, "a.png", overlay="overlays/a.png.png")
    both = Image.new("RGB", (200, 60), "red")
    both.paste("blue", (0, 0, 100, 60))
    file = folder / "out" / thumbnail_name("overlays/a.png.png")
    file.parent.mkdir(parents=True)
    both.save(file)
    thumbnail = Image.open(io.BytesIO(pictures.thumbnail(0).content))
    assert thumbnail.size == (100, 60)
    assert thumbnail.getpixel((50, 30))[2] > 200


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_thumbnail_made_from_the_photo(folder, content):
    (folder / "photos" / "a.png").write_bytes(encoded(quadrants(), "PNG"))
    pictures = make_pictures(folder, "a.png", overlay="overlays/a.png.png")
    if content is not None:
        file = folder / "out" / thumbnail_name("overlays/a.png.png")
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    assert looks_like_quadrants(Image.open(io.BytesIO(pictures.thumbnail(0).content)), tolerance=25)


def test_overlay(folder):
    (folder / "photos" / "a.png").write_bytes(encoded(quadrants(), "PNG"))
    pictures = make_pictures(folder, "a.png", overlay="overlays/a.png.png")
    with pytest.raises(PictureMissingError):
        pictures.overlay(0)
    (folder / "out" / "overlays" / "a.png.png").write_bytes(b"drawn")
    assert pictures.overlay(0).content == b"drawn"


@pytest.mark.parametrize("name", [None, "../photos/a.png", "overlays/../../photos/a.png", "/etc/passwd", "runs/x", ""])
def test_no_overlay_out_of_its_folder(folder, name):
    (folder / "photos" / "a.png").write_bytes(encoded(quadrants(), "PNG"))
    with pytest.raises(PictureMissingError, match="this photo has no overlay"):
        make_pictures(folder, "a.png", overlay=name).overlay(0)


def test_maps_of_all_methods(folder):
    (folder / "photos" / "a.png").write_bytes(encoded(quadrants(48, 40), "PNG"))
    pictures = make_pictures(folder, "a.png")
    main, other = pictures.map(0, None), pictures.map(0, "libragrad")
    assert main.content == pictures.map(0, "rollout").content != other.content
    with pytest.raises(PictureMissingError, match="no such map"):
        pictures.map(0, "legrad")


def test_white_level_of_the_run(folder):
    """Photos look as the model saw them."""
    (folder / "photos" / "a.png").write_bytes(encoded(quadrants(), "PNG"))
    write_run(folder / "out", folder / "photos", [photo_row(folder / "photos", "a.png")])
    record = make_record(folder / "photos", settings={"white_level": 4095, "max_pixels": 77})
    (folder / "out" / "runs" / "20260101T000000Z.json").write_text(json.dumps(record.as_json()))
    tasks = []

    def remember(task):
        tasks.append(task)
        return b""

    rows = read_rows(folder / "out")
    Pictures(rows, MapReader(rows), SimpleNamespace(render=remember)).thumbnail(0)
    assert [(task.white_level, task.max_pixels) for task in tasks] == [(4095, 77)]
