"""The heat lies exactly on its place, on the part of the photo seen by the model."""

import io
from dataclasses import replace

import numpy as np
import pytest
from cmap import Colormap
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from pipeline.model.input_geometry import read_input_geometry
from pipeline.overlays.draw import OverlayLook, draw_overlay, shown_range
from pipeline.photos.load_photo import LoadSpec, load_sample
from pipeline.records import ImageRef
from tests.helpers.image_files import with_orientation

ARTICLE = OverlayLook(style="article")


def one_hot(grid, cell):
    attention = np.zeros(grid, np.float32)
    attention[cell] = 1
    return attention


def drawn(photo, attention, box=None, look=ARTICLE):
    """Draw the map over the whole photo, or over the box; return (h, w, 3) floats."""
    height, width = photo.shape[:2]
    picture = draw_overlay(photo, attention, box or (0, 0, width, height), look)
    assert (picture.mode, picture.size) == ("RGB", (width, height))
    return np.asarray(picture).astype(float)


def black(width, height):
    return np.zeros((height, width, 3), np.uint8)


def centre_of(light):
    """Return the centre of mass, (x, y), in pixels from the top left corner."""
    rows, columns = np.indices(light.shape) + 0.5
    return (columns * light).sum() / light.sum(), (rows * light).sum() / light.sum()


# Position of the heat


@pytest.mark.parametrize("look", [ARTICLE, OverlayLook(opacity=1, colormap="gray")], ids=["article", "heat"])
@pytest.mark.parametrize(
    ("width", "height", "grid", "cell"),
    [
        (240, 240, (12, 12), (5, 6)),
        (640, 480, (12, 12), (3, 8)),
        (480, 640, (12, 12), (8, 2)),
        (300, 100, (4, 12), (1, 9)),
        (100, 300, (12, 4), (9, 1)),
        (401, 173, (7, 13), (4, 6)),
    ],
)
def test_hot_cell_lies_on_its_place(look, width, height, grid, cell):
    light = drawn(black(width, height), one_hot(grid, cell), look=look).mean(axis=2)
    per_x, per_y = width / grid[1], height / grid[0]
    x, y = centre_of(light)
    assert abs(x - (cell[1] + 0.5) * per_x) < 0.05 * per_x + 0.5
    assert abs(y - (cell[0] + 0.5) * per_y) < 0.05 * per_y + 0.5
    assert light[int(y), int(x)] > 0.98 * light.max() > 100
    rows, columns = np.indices(light.shape)
    far = (abs(columns + 0.5 - x) > 3 * per_x) | (abs(rows + 0.5 - y) > 3 * per_y)
    assert light[far].max() <= 1


def test_one_faint_hot_cell_is_as_bright_as_a_strong_one():
    """The percentile of a map with a single hot cell is its minimum."""
    pictures = [drawn(black(240, 240), one_hot((12, 12), (5, 6)) * hot, look=OverlayLook()) for hot in (0.004, 1)]
    np.testing.assert_allclose(*pictures, atol=1)
    assert pictures[0].max() > 50


@pytest.mark.parametrize("look", [ARTICLE, OverlayLook(opacity=1, colormap="gray")], ids=["article", "heat"])
def test_on_one_scale_a_weak_map_stays_dark(look):
    on_one_scale = replace(look, span=(1.0, 3.0))
    values, expected = (-5, 1, 1.5, 2, 3, 9), np.array([0, 0, 0.25, 0.5, 1, 1])
    maps = [np.full((6, 6), value, np.float32) for value in values]
    light = [drawn(black(120, 120), attention, look=on_one_scale).mean() / 255 for attention in maps]
    # both the grey and its opacity follow the value
    assert light == pytest.approx(expected if look is ARTICLE else expected**2, abs=0.01)
    assert drawn(black(120, 120), one_hot((6, 6), (2, 2)) * 1.01, look=on_one_scale).max() < 2
    assert drawn(black(120, 120), one_hot((6, 6), (2, 2)) * 1.01, look=look).max() > 100
    assert shown_range(one_hot((6, 6), (2, 2)), on_one_scale) == (1, 3)


@pytest.mark.parametrize("box", [(40, 10, 200, 130), (0, 0, 100, 100), (140, 40, 240, 140), (40.4, 10.4, 199.6, 129.6)])
def test_outside_the_box_the_photo_is_untouched(box):
    photo = np.random.default_rng(0).integers(0, 256, (140, 240, 3), dtype=np.uint8)
    attention = np.random.default_rng(1).random((5, 7), dtype=np.float32)
    picture = drawn(photo, attention, box)
    inside = np.zeros((140, 240), bool)
    x0, y0, x1, y1 = (round(edge) for edge in box)
    inside[y0:y1, x0:x1] = True
    assert (picture[~inside] == photo[~inside]).all()
    assert (picture[inside] != photo[inside]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize(
    ("box", "cell"),
    [
        ((40, 10, 200, 130), (2, 3)),  # a crop within the photo
        ((-60, 0, 300, 140), (2, 2)),  # padded at the sides
        ((0, -50, 240, 190), (3, 4)),  # padded above and below
        ((-33.3, -10.7, 280.9, 160.2), (2, 4)),
    ],
)
def test_hot_cell_lies_on_its_place_in_the_box(box, cell):
    grid = (6, 8)
    light = drawn(black(240, 140), one_hot(grid, cell), box).mean(axis=2)
    per_x, per_y = (box[2] - box[0]) / grid[1], (box[3] - box[1]) / grid[0]
    x, y = centre_of(light)
    assert abs(x - (box[0] + (cell[1] + 0.5) * per_x)) < 0.05 * per_x + 0.5
    assert abs(y - (box[1] + (cell[0] + 0.5) * per_y)) < 0.05 * per_y + 0.5


@pytest.mark.parametrize("box", [(300, 0, 400, 100), (0, -90, 100, -10), (10, 10, 10.2, 50), (240, 0, 300, 140)])
def test_box_outside_the_photo_leaves_it_unchanged(box):
    photo = np.random.default_rng(0).integers(0, 256, (140, 240, 3), dtype=np.uint8)
    assert (drawn(photo, one_hot((4, 4), (1, 1)), box) == photo).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 40), (40, 1)])
def test_photo_smaller_than_the_grid(size):
    drawn(black(*size), one_hot((12, 12), (6, 6)))


# From the file to the picture


PROCESSORS = {
    "resized": ViTImageProcessorPil(size={"height": 224, "width": 224}),
    "resized-wide": ViTImageProcessorPil(size={"height": 160, "width": 320}),
    "resized-cropped": DeiTImageProcessorPil(),
    "cropped": BitImageProcessorPil(size={"shortest_edge": 256}),
    "cropped-small": BitImageProcessorPil(size={"shortest_edge": 448}),
    "padded": BitImageProcessorPil(do_resize=False, crop_size={"height": 640, "width": 640}),
}


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize(("width", "height"), [(600, 400), (330, 500)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_overlay_lies_on_the_pixels_seen_by_the_model(tmp_path, name, width, height, orientation):
    """The map is the brightness of the model's own pixels, so the overlay must lie on the bright spot."""
    processor = PROCESSORS[name]
    geometry = read_input_geometry(processor, 16)
    spot = (round(0.45 * width), round(0.56 * height))  # x, y
    photo = black(width, height)
    photo[spot[1] - 15 : spot[1] + 15, spot[0] - 15 : spot[0] + 15] = 255
    file = tmp_path / "spot.jpg"
    file.write_bytes(with_orientation(Image.fromarray(photo), "JPEG", orientation, quality=95))

    spec = LoadSpec(processor, geometry.draft_size, overlay_size=300, max_pixels=10**8)
    sample = load_sample(ImageRef("spot.jpg", None, str(file), 0, 0), spec)
    assert (sample.width, sample.height) == (width, height)
    grid_h, grid_w = geometry.grid
    seen = sample.pixels[0, : grid_h * 16, : grid_w * 16].astype(np.float32)
    attention = seen.reshape(grid_h, 16, grid_w, 16).mean(axis=(1, 3))

    scale = 300 / max(width, height)
    box = tuple(edge * scale for edge in geometry.map_box(width, height))
    shown_spot = centre_of(sample.photo.mean(axis=2).astype(float))
    np.testing.assert_allclose(shown_spot, np.array(spot) * scale, atol=0.5)
    light = drawn(np.zeros_like(sample.photo), attention, box).mean(axis=2)
    cell = max((box[2] - box[0]) / grid_w, (box[3] - box[1]) / grid_h)
    assert np.abs(np.array(centre_of(light)) - shown_spot).max() < 0.15 * cell + 0.5


# Appearance


@pytest.mark.parametrize("style", ["heat", "article"])
@pytest.mark.parametrize("value", [0.0, 0.25, -3.0, 1e9])
def test_uniform_map_leaves_the_photo(style, value):
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert (drawn(photo, np.full((4, 4), value, np.float32), look=OverlayLook(style=style)) == photo).all()


def test_opacity_of_zero_leaves_the_photo():
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    attention = np.random.default_rng(1).random((4, 6), dtype=np.float32)
    assert (drawn(photo, attention, look=OverlayLook(opacity=0)) == photo).all()


@pytest.mark.parametrize("opacity", [0.3, 0.7, 1.0])
def test_opacity_is_that_of_the_hottest_spot(opacity):
    opaque = opacity_of(wide_spot(), 350, 350, OverlayLook(opacity=opacity))
    assert opaque[175, 175] == opaque.max() == pytest.approx(opacity, abs=0.01)
    assert opaque[0, 0] == 0


def wide_spot():
    """A spot too wide for the blur to reach its middle."""
    attention = np.zeros((7, 7), np.float32)
    attention[2:5, 2:5] = 1
    return attention


def opacity_of(attention, width, height, look):
    """Measure the opacity of each pixel: under an opaque one, black and white photos look the same."""
    white = drawn(black(width, height) + 255, attention, look=look)
    return 1 - (white - drawn(black(width, height), attention, look=look)).mean(axis=2) / 255


def test_opacity_follows_the_value():
    ramp = np.linspace(-2, 7, 40, dtype=np.float32)[None, :]
    opaque = opacity_of(ramp, 400, 12, OverlayLook(opacity=0.8))
    assert (np.diff(opaque, axis=1) >= 0).all()
    assert np.ptp(opaque, axis=0).max() == 0
    value = (np.arange(400) + 0.5 - 5) / 390  # 0 in the middle of the first cell, 1 in that of the last
    np.testing.assert_allclose(opaque[0, 5:-20], 0.8 * value[5:-20] / 0.98, atol=0.02)
    assert opaque[0, -1] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("colormap", ["plasma", "viridis", "turbo"])
def test_colours_are_those_of_the_colour_map(colormap):
    ramp = np.linspace(0, 1, 40, dtype=np.float32)[None, :]
    look = OverlayLook(opacity=1, colormap=colormap)
    mask = opacity_of(ramp, 400, 12, look)[6, 100::50]  # with an opacity of 1 the value itself
    colours = drawn(black(400, 12), ramp, look=look)[6, 100::50] / mask[:, None] / 255
    np.testing.assert_allclose(colours, np.asarray(Colormap(colormap)(mask))[:, :3], atol=0.04)


@pytest.mark.parametrize("style", ["heat", "article"])
def test_each_picture_is_scaled_by_its_own_range(style):
    photo = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    attention = np.random.default_rng(1).random((6, 6), dtype=np.float32)
    look = OverlayLook(style=style)
    np.testing.assert_allclose(
        drawn(photo, attention, look=look), drawn(photo, attention * 0.01 - 5, look=look), atol=3
    )


def test_one_patch_does_not_outshine_all_others():
    attention = np.linspace(0, 1, 196, dtype=np.float32).reshape(14, 14)
    with_scratchpad = attention.copy()
    with_scratchpad[0, 0] = 100
    plain, outshone = (opacity_of(each, 140, 140, OverlayLook()) for each in (attention, with_scratchpad))
    np.testing.assert_allclose(outshone[60:], plain[60:], atol=0.02)
    assert outshone[0, 0] > 0.5


def test_blur_is_scaled_to_the_cells():
    """A photo of four times the size gives the same picture in four times the size."""
    attention = one_hot((6, 6), (2, 3))
    look = OverlayLook(opacity=1, colormap="gray")
    small = drawn(black(96, 96), attention, look=look)[..., 0]
    large = drawn(black(384, 384), attention, look=look)[..., 0]
    np.testing.assert_allclose(large.reshape(96, 4, 96, 4).mean(axis=(1, 3)), small, atol=12)
    sharp = np.kron(attention, np.ones((64, 64)))
    steepest = np.abs(np.diff(large, axis=1)).max()
    assert steepest < 20 < np.abs(np.diff(sharp, axis=1)).max() * 255, "no edges of cells"


def test_article_look_equals_an_independent_computation():
    """White, the min-max value as alpha, blur of radius 2."""
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (96, 120, 3), dtype=np.uint8)
    attention = random.random((8, 10), dtype=np.float32) * 0.01 + 3
    low, high = attention.min(), attention.max()
    values = Image.fromarray(((attention - low) / (high - low)).astype(np.float32))
    alpha = np.asarray(values.resize((120, 96), Image.Resampling.BICUBIC)).clip(0, 1)
    alpha = gaussian_filter(alpha, 2, mode="nearest")[..., None]
    expected = 255 * alpha + photo * (1 - alpha)
    np.testing.assert_allclose(drawn(photo, attention), expected, atol=5)
    np.testing.assert_allclose(drawn(photo, attention).mean(), expected.mean(), atol=0.5)


def test_article_look_has_its_own_blur_and_opacity():
    photo = black(400, 400)
    attention = one_hot((4, 4), (1, 1))
    plain = drawn(photo, attention)
    assert (plain == drawn(photo, attention, look=OverlayLook(style="article", opacity=0.1, colormap="jet"))).all()
    assert plain.max() > 250
    upsampled = Image.fromarray(attention).resize((400, 400), Image.Resampling.BICUBIC)
    values = Image.fromarray((np.asarray(upsampled).clip(0, 1) * 255).round().astype(np.uint8))
    np.testing.assert_allclose(plain[..., 0], np.asarray(values.filter(ImageFilter.GaussianBlur(2))), atol=2)


def test_photo_is_not_modified():
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    before = photo.copy()
    photo.flags.writeable = False
    drawn(photo, one_hot((4, 4), (1, 1)), look=OverlayLook())
    assert (photo == before).all()


def test_same_input_gives_the_same_picture():
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    buffers = []
    for _ in range(2):
        buffers.append(io.BytesIO())
        draw_overlay(photo, one_hot((4, 4), (1, 1)), (0, 0, 60, 40), OverlayLook()).save(buffers[-1], "PNG")
    assert buffers[0].getvalue() == buffers[1].getvalue()
