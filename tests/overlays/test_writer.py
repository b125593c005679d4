"""Overlay files: each photo has its own overlay and thumbnail, and they show that photo."""

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import StoreError
from pipeline.overlays.draw import OverlayLook
from pipeline.overlays.writer import OverlayWriter
from pipeline.records import ImageRef, Sample
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import thumbnail_name
from tests.helpers.image_files import looks_like_quadrants, quadrants


def make_drawing(path, image, *, hot=(0, 0), photo=True):
    """Return the sample of a photo, and a map."""
    pixels = np.asarray(image)
    attention = np.zeros((4, 4), np.float32)
    attention[hot] = 1
    sample = Sample(
        ref=ImageRef(path, None, "/nowhere", 1, 1),
        content_hash="0" * 32,
        width=2 * image.width,  # the overlay's photo is half the size of the file
        height=2 * image.height,
        note=None,
        pixels=np.zeros((3, 4, 4), np.uint8),
        photo=pixels if photo else None,
    )
    return sample, attention


@pytest.fixture
def results(tmp_path):
    with ResultsFolder(tmp_path / "out", tmp_path / "in") as folder:
        yield folder


def test_every_photo_gets_its_own_picture(tmp_path, results):
    look = OverlayLook(opacity=0)
    colours = {f"{index:02d}.jpg": (index * 6, 255 - index * 6, 100) for index in range(40)}
    with OverlayWriter(results, look, threads=3, waiting=4) as writer:
        for path, colour in colours.items():
            name = writer.submit(*make_drawing(path, Image.new("RGB", (8, 8), colour)), (0, 0, 16, 16))
            assert name == f"overlays/{path}.png"
        writer.flush()
        for path, colour in colours.items():
            with Image.open(tmp_path / "out" / "overlays" / f"{path}.png") as picture:
                assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (8, 8))
                assert picture.getpixel((3, 3)) == colour


def test_negative_values_are_not_drawn(tmp_path, results):
    image, pictures = Image.new("RGB", (80, 80), "black"), []
    with OverlayWriter(results, OverlayLook(style="article"), threads=1, waiting=4) as writer:
        for name, below in (("a.jpg", 0.0), ("b.jpg", -0.2)):
            sample, attention = make_drawing(name, image, hot=(1, 1))
            attention[3, 3] = below
            pictures.append(writer.submit(sample, attention, (0, 0, 160, 160)))
        writer.flush()
    zero, negative = (np.asarray(Image.open(tmp_path / "out" / picture)) for picture in pictures)
    assert zero.max() > 200
    np.testing.assert_array_equal(zero, negative)


def test_box_is_in_pixels_of_the_file_not_of_the_overlay(tmp_path, results):
    image = Image.new("RGB", (80, 80), "black")
    with OverlayWriter(results, OverlayLook(style="article"), threads=1, waiting=4) as writer:
        name = writer.submit(*make_drawing("a.jpg", image, hot=(1, 2)), (40, 0, 160, 160))
        writer.flush()
    with Image.open(tmp_path / "out" / name) as picture:
        light = np.asarray(picture.convert("L")).astype(float)
    rows, columns = np.indices(light.shape)
    centre = (rows * light).sum() / light.sum(), (columns * light).sum() / light.sum()
    np.testing.assert_allclose(centre, (29.5, 20 + 2.5 * 15 - 0.5), atol=0.5)
    assert light[:, :17].max() == 0


def test_nothing_is_drawn_without_a_photo(tmp_path, results):
    with OverlayWriter(results, OverlayLook(), threads=1, waiting=4) as writer:
        assert writer.submit(*make_drawing("a.jpg", quadrants(), photo=False), (0, 0, 1, 1)) is None
        writer.flush()
    assert list((tmp_path / "out" / "overlays").iterdir()) == []


@pytest.mark.parametrize(("size", "half"), [((1024, 512), (320, 160)), ((60, 90), (60, 90)), ((3000, 300), (320, 32))])
def test_thumbnail_is_the_photo_beside_its_overlay(tmp_path, results, size, half):
    with OverlayWriter(results, OverlayLook(style="article"), threads=1, waiting=4) as writer:
        box = (0, 0, 2 * size[0], 2 * size[1])
        name = writer.submit(*make_drawing("a.jpg", Image.new("RGB", size, (0, 0, 120)), hot=(0, 0)), box)
        writer.flush()
    with Image.open(tmp_path / "out" / thumbnail_name(name)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (2 * half[0], half[1]))
        pixels = np.asarray(picture, dtype=float)
    photo, overlay = pixels[:, : half[0]], pixels[:, half[0] :]
    photo = photo[:, :-16]  # JPEG smears the seam over a block
    np.testing.assert_allclose(photo, np.broadcast_to((0, 0, 120), photo.shape), atol=6)
    assert overlay[0, 0].min() > 150  # the hot cell is white
    np.testing.assert_allclose(overlay[-1, -1], (0, 0, 120), atol=12)


def test_overlay_replaces_an_earlier_one(tmp_path, results):
    with OverlayWriter(results, OverlayLook(opacity=0), threads=1, waiting=4) as writer:
        for image in (Image.new("RGB", (48, 32)), quadrants()):
            writer.submit(*make_drawing("a.jpg", image), (0, 0, 96, 64))
            writer.flush()
    with Image.open(tmp_path / "out" / "overlays" / "a.jpg.png") as picture:
        assert looks_like_quadrants(picture, tolerance=0)
    assert list((tmp_path / "out" / "tmp").iterdir()) == []


def test_errors_in_a_thread_are_raised(tmp_path, results):
    (tmp_path / "out" / "overlays").rmdir()
    (tmp_path / "out" / "overlays").write_bytes(b"a file is in the way")
    with OverlayWriter(results, OverlayLook(), threads=1, waiting=4) as writer:
        writer.submit(*make_drawing("a.jpg", quadrants()), (0, 0, 96, 64))
        with pytest.raises(StoreError, match="can't write"):
            writer.flush()


def test_queue_of_photos_is_limited(results):
    def count_written():
        return sum(1 for name in ("overlays", "thumbnails") for file in (results.out / name).rglob("*.*"))

    with OverlayWriter(results, OverlayLook(), threads=1, waiting=4) as writer:
        for index in range(30):
            writer.submit(*make_drawing(f"{index}.jpg", quadrants()), (0, 0, 96, 64))
            assert index - count_written() / 2 <= 5
        writer.flush()
    assert count_written() == 2 * 30  # each with its thumbnail


def test_overlay_of_a_photo_with_an_escaped_name(tmp_path, results):
    path = r"caf\xe9/" + "\n'\N{CAMERA}.jpg"
    with OverlayWriter(results, OverlayLook(), threads=1, waiting=4) as writer:
        name = writer.submit(*make_drawing(path, quadrants()), (0, 0, 96, 64))
        writer.flush()
    assert os.path.isfile(tmp_path / "out" / name)


@pytest.mark.parametrize("flushed", [True, False], ids=["by one flush", "by a full queue"])
def test_size_of_the_pictures_is_told(tmp_path, results, caplog, flushed):
    noise = np.random.default_rng(3).integers(0, 256, (400, 300, 3), np.uint8)
    photos = [Image.fromarray(noise), Image.fromarray(noise[:, ::-1]), Image.fromarray(noise[::2])]
    drawings = [make_drawing(f"{index}.jpg", photo) for index, photo in enumerate(photos)]
    drawings = [(replace(sample, ref=replace(sample.ref, file_bytes=100_000)), heat) for sample, heat in drawings]
    caplog.set_level("INFO")
    with OverlayWriter(results, OverlayLook(), threads=1, waiting=len(photos) if flushed else 1) as writer:
        names = [writer.submit(sample, heat, (0, 0, 600, 800)) for sample, heat in drawings]
        writer.flush()
    size = sum((tmp_path / "out" / file).stat().st_size for name in names for file in (name, thumbnail_name(name)))
    told = f"overlays and thumbnails of this run: {size / 1e6:.1f} MB, {size / 300_000:.1f} times their photos"
    assert [message.partition(";")[0] for message in caplog.messages] == [told]


def test_no_size_is_told_without_pictures_or_after_an_error(results, caplog):
    caplog.set_level("INFO")
    with OverlayWriter(results, OverlayLook(), threads=1, waiting=1) as writer:
        writer.submit(*make_drawing("a.jpg", quadrants(), photo=False), (0, 0, 1, 1))

    def draw_and_fail():
        with OverlayWriter(results, OverlayLook(), threads=1, waiting=1) as writer:
            writer.submit(*make_drawing("a.jpg", quadrants()), (0, 0, 96, 64))
            writer.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_and_fail()
    assert caplog.messages == []


def test_a_box_counts_as_the_table_stores_it(tmp_path, results):
    """So that a picture drawn later from its row, with a box of float32, is the same."""
    pictures, box = [], (10.5 + 1e-9, 0.0, 160.0, 160.0)  # in float32 the left edge is between two pixels
    with OverlayWriter(results, OverlayLook(style="article"), threads=1, waiting=4) as writer:
        for name, exact in (("a.jpg", box), ("b.jpg", tuple(np.float32(box).tolist()))):
            sample, attention = make_drawing(name, Image.new("RGB", (160, 160), "black"))
            pictures.append(writer.submit(replace(sample, width=160, height=160), attention, exact))
        writer.flush()
    first, second = ((tmp_path / "out" / picture).read_bytes() for picture in pictures)
    assert first == second
