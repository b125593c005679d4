import io
import os
import socket

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DecodeError
from pipeline.review import renditions
from pipeline.review.renditions import Renderer, RenditionTask, render
from tests.helpers.image_files import (
    encoded,
    looks_like_quadrants,
    png_bomb,
    quadrants,
    smooth_photo,
    tiff_bytes,
    with_orientation,
)


@pytest.fixture
def renderer():
    renderer = Renderer()
    yield renderer
    renderer.close()


def open_picture(content):
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(
    "content",
    [with_orientation(quadrants(), "TIFF", 6), encoded(quadrants().convert("CMYK"), "JPEG", quality=95)],
    ids=["turned TIFF", "CMYK"],
)
def test_photo_is_upright_and_in_full(content):
    picture = open_picture(render(RenditionTask("photo", content)))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (48, 32))
    assert looks_like_quadrants(picture)


def test_white_level_is_that_of_the_run():
    deep = tiff_bytes(np.full((4, 4), 4095, np.uint16))
    assert np.asarray(open_picture(render(RenditionTask("photo", deep)))).max() == 16  # 4095 of 65,535
    assert np.asarray(open_picture(render(RenditionTask("photo", deep, white_level=4095)))).min() == 255


def test_thumbnail_is_small_and_upright():
    content = with_orientation(quadrants(1200, 800), "JPEG", 8)
    picture = open_picture(render(RenditionTask("small", content)))
    assert (picture.format, picture.size) == ("JPEG", (320, 213))
    assert looks_like_quadrants(picture, tolerance=20)


def test_left_half_of_a_thumbnail_of_the_run_has_no_overlay():
    both = Image.new("RGB", (100, 40), "red")
    both.paste(Image.new("RGB", (50, 40), "blue"), (0, 0))
    picture = open_picture(render(RenditionTask("left half", encoded(both, "JPEG"))))
    assert picture.size == (50, 40)
    assert np.asarray(picture)[..., 0].max() < 60


def test_map_is_hot_in_its_place():
    photo = encoded(Image.new("RGB", (400, 200), "black"), "PNG")
    heat = np.zeros((2, 4), np.float32)
    heat[1, 3] = 1
    picture = np.asarray(open_picture(render(RenditionTask("map", photo, heat=heat, box=(0, 0, 400, 200)))))
    assert picture.shape == (200, 400, 3)
    brightness = picture.astype(int).sum(axis=2)
    assert np.unravel_index(brightness.argmax(), brightness.shape) >= (120, 320)


@pytest.mark.parametrize("content", [b"", b"no picture", png_bomb(40_000, 40_000)])
def test_bad_photo_is_refused_by_the_worker(renderer, content):
    with pytest.raises(DecodeError):
        renderer.render(RenditionTask("photo", content))
    assert open_picture(renderer.render(RenditionTask("photo", encoded(quadrants(), "PNG"))))


def test_crash_of_a_decoder_costs_one_picture(renderer, monkeypatch):
    def crash(task):
        os._exit(7)

    with monkeypatch.context() as patch:
        patch.setattr(renditions, "render", crash)
        crashing = Renderer()
    try:
        for reason in ("the decoder crashed", "the decoder crashed", "not an image"):  # replaced workers are whole
            with pytest.raises(DecodeError, match=reason):
                crashing.render(RenditionTask("photo", b"no picture"))
    finally:
        crashing.close()


def test_workers_do_not_keep_the_port(renderer):
    """A worker replaced while the server runs is a copy of it, with its sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        late = Renderer()
        late.render(RenditionTask("photo", encoded(quadrants(), "PNG")))
        late.render(RenditionTask("photo", encoded(quadrants(), "PNG")))
    try:
        socket.create_server(("127.0.0.1", port)).close()
    finally:
        late.close()


def test_large_photo_goes_through_the_pipe(renderer):
    content = encoded(smooth_photo(2000, 1500), "TIFF")
    assert open_picture(renderer.render(RenditionTask("photo", content))).size == (2000, 1500)
