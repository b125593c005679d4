"""The box of a map is the part of the photo that the model really saw, by every family's own image processor."""

import json

import numpy as np
import pytest
from PIL import Image
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from pipeline.errors import ModelError
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.families import FAMILIES
from pipeline.model.input_geometry import InputGeometry, read_input_geometry
from pipeline.model.processor import load_processor
from pipeline.training.backbone import build_processor

_DO = {"do_resize": True, "do_rescale": True, "do_normalize": True}
_SQUARE = {"height": 224, "width": 224}
_BIT = {"do_center_crop": True, "crop_size": _SQUARE, "size": {"shortest_edge": 256}, "resample": 3}

# As published: what is in preprocessor_config.json of a well-known checkpoint of the family, and its patch size.
PUBLISHED = {
    "vit": ({"do_normalize": True, "do_resize": True, "size": 384}, 32),  # google/vit-large-patch32-384, of 2021
    "deit": (
        {"feature_extractor_type": "DeiTFeatureExtractor", "do_resize": True, "size": 256, "resample": 3}
        | {"do_center_crop": True, "crop_size": 224},
        16,
    ),
    "beit": (
        {"feature_extractor_type": "BeitFeatureExtractor", "do_resize": True, "size": 224, "resample": 2}
        | {"do_center_crop": False, "crop_size": 224},
        16,
    ),
    "dinov2": ({"image_processor_type": "BitImageProcessor", **_DO, **_BIT}, 14),
    "dinov2_with_registers": ({"image_processor_type": "BitImageProcessor", **_DO, **_BIT}, 14),
    "ijepa": ({"image_processor_type": "ViTImageProcessor", **_DO, "size": {"height": 448, "width": 448}}, 14),
    "vit_msn": ({"feature_extractor_type": "ViTFeatureExtractor", "do_resize": True, "size": 224}, 16),
    "siglip": ({"image_processor_type": "SiglipImageProcessor", **_DO, "size": {"height": 384, "width": 384}}, 14),
    "clip": (
        {"feature_extractor_type": "CLIPFeatureExtractor", "do_resize": True, "size": 224, "resample": 3}
        | {"do_center_crop": True, "crop_size": 224},
        32,
    ),
    "metaclip_2": (
        {"image_processor_type": "CLIPImageProcessor", **_DO, "size": {"shortest_edge": 378}}
        | {"do_center_crop": True, "crop_size": {"height": 378, "width": 378}},
        14,
    ),
}

PHOTOS = [(640, 480), (480, 640), (300, 300), (1000, 211), (97, 401), (23, 31), (225, 224)]  # width, height


def test_every_family_is_here():
    assert set(PUBLISHED) == set(FAMILIES)


def published_processor(folder, family, input_size=None):
    preprocessing, patch_size = PUBLISHED[family]
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return load_processor(Checkpoint(family, folder, {"model_type": family}), input_size), patch_size


def tiny_preprocessing(folder):
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "ViTImageProcessor", **_DO}))
    return folder


def coordinate_photo(width, height, *, across):
    """A photo whose brightness is the position from 0 to 1 across it, as 50..250."""
    length = width if across else height
    ramp = 50 + 200 * (np.arange(length) + 0.5) / length
    values = np.broadcast_to(ramp[None, :] if across else ramp[:, None], (height, width))
    return Image.fromarray(np.repeat(values[..., None], 3, axis=2).round().astype(np.uint8))


def seen_extent(processor, geometry, width, height, *, across):
    """What the whole patches show, from .. to in pixels of the photo: measured, by a line through the brightness."""
    output = processor(coordinate_photo(width, height, across=across), do_rescale=False, do_normalize=False)
    pixels = np.asarray(output["pixel_values"][0]).astype(float)  # (3, H, W)
    assert pixels.shape == (3, *geometry.input_size)
    not_padded = pixels[0].max(axis=1 if across else 0) > 0
    values = pixels[0][not_padded].mean(axis=0) if across else pixels[0][:, not_padded].mean(axis=1)
    length = width if across else height
    positions = (values - 50) / 200 * length
    # the middle of what is left of the photo: its borders are bent by the resampling
    inside = (values > 0) & (positions > 0.1 * length) & (positions < 0.9 * length)
    places = np.arange(len(values)) + 0.5
    slope, offset = np.polyfit(places[inside], positions[inside], 1)
    cells = geometry.grid[1 if across else 0]
    return offset, offset + slope * cells * geometry.patch_size


def assert_box_is_what_is_seen(processor, geometry, width, height):
    x0, y0, x1, y1 = geometry.map_box(width, height)
    np.testing.assert_allclose((x0, x1), seen_extent(processor, geometry, width, height, across=True), atol=0.75)
    np.testing.assert_allclose((y0, y1), seen_extent(processor, geometry, width, height, across=False), atol=0.75)


@pytest.mark.parametrize(("width", "height"), PHOTOS)
@pytest.mark.parametrize("family", PUBLISHED)
def test_box_is_what_the_model_sees(tmp_path, family, width, height):
    processor, patch_size = published_processor(tmp_path, family)
    assert_box_is_what_is_seen(processor, read_input_geometry(processor, patch_size), width, height)


@pytest.mark.parametrize("input_size", [(448, 448), (224, 320), (320, 224)])
@pytest.mark.parametrize(("width", "height"), [(640, 480), (97, 401)])
@pytest.mark.parametrize("family", ["vit", "deit", "dinov2", "siglip", "clip"])
def test_box_is_what_the_model_sees_at_another_input_size(tmp_path, family, width, height, input_size):
    processor, patch_size = published_processor(tmp_path, family, input_size)
    geometry = read_input_geometry(processor, patch_size)
    assert geometry.input_size == input_size
    assert_box_is_what_is_seen(processor, geometry, width, height)


@pytest.mark.parametrize(("width", "height"), [(100, 150), (150, 100), (101, 99), (500, 60), (300, 400)])
def test_box_where_the_crop_is_larger_than_the_photo(width, height):
    processor = BitImageProcessorPil(do_resize=False, crop_size={"height": 224, "width": 211})
    geometry = read_input_geometry(processor, 14)
    assert_box_is_what_is_seen(processor, geometry, width, height)
    if width < 211 and height < 224:
        x0, y0, x1, y1 = geometry.map_box(width, height)
        assert x0 < 0 < width < x1
        assert y0 < 0 < height < y1


@pytest.mark.parametrize(("width", "height"), PHOTOS)
def test_box_where_a_photo_is_padded_to_a_square(tmp_path, width, height):
    build_processor(tiny_preprocessing(tmp_path), 224, "pad").save_pretrained(tmp_path)
    processor = load_processor(Checkpoint("x", tmp_path, {"model_type": "vit"}))
    geometry = read_input_geometry(processor, 16)
    assert geometry.input_size == (224, 224)
    assert_box_is_what_is_seen(processor, geometry, width, height)
    x0, y0, x1, y1 = geometry.map_box(width, height)
    assert x1 - x0 == pytest.approx(y1 - y0, rel=0.02)  # the aspect is kept
    assert max(x0, y0) <= 0  # the whole photo is seen
    assert x1 >= width - 1
    assert y1 >= height - 1


def test_box_after_a_resize_that_is_smaller_than_the_crop():
    processor = BitImageProcessorPil(size={"shortest_edge": 100}, crop_size={"height": 112, "width": 84})
    assert_box_is_what_is_seen(processor, read_input_geometry(processor, 14), 300, 200)


def test_remainder_beyond_whole_patches_is_left_out(tmp_path):
    processor, patch_size = published_processor(tmp_path, "siglip")
    geometry = read_input_geometry(processor, patch_size)
    assert geometry.grid == (27, 27)  # 384 = 27 * 14 + 6
    assert geometry.map_box(384, 768) == (0, 0, 378, 756)


def test_boxes_that_are_easy_to_work_out():
    whole = InputGeometry(resize=(224, 224), shortest_edge=None, crop=None, patch_size=16)
    assert whole.map_box(640, 480) == (0, 0, 640, 480)
    assert whole.grid == (14, 14)
    cropped = InputGeometry(resize=None, shortest_edge=256, crop=(224, 224), patch_size=14)
    assert cropped.map_box(512, 512) == (32, 32, 480, 480)
    assert cropped.map_box(1024, 512) == (288, 32, 736, 480)
    assert cropped.map_box(512, 1024) == (32, 288, 480, 736)
    wide = InputGeometry(resize=(32, 64), shortest_edge=None, crop=None, patch_size=8)
    assert (wide.input_size, wide.grid) == ((32, 64), (4, 8))


# What a photo must have at least, so that a reduced decode loses nothing


@pytest.mark.parametrize("family", PUBLISHED)
def test_draft_size_is_twice_what_a_photo_is_resized_to(tmp_path, family):
    processor, patch_size = published_processor(tmp_path, family)
    geometry = read_input_geometry(processor, patch_size)
    expected = {"vit": 768, "deit": 512, "dinov2": 512, "dinov2_with_registers": 512, "ijepa": 896, "siglip": 768}
    assert geometry.draft_size == expected.get(family, 756 if family == "metaclip_2" else 448)


def test_draft_size_of_a_wide_input_is_that_of_its_longer_side():
    assert InputGeometry(resize=(100, 300), shortest_edge=None, crop=None, patch_size=10).draft_size == 600


def test_without_a_resize_there_is_no_reduced_decode():
    """A crop of the photo as it is would show more of it, were the photo decoded at half its size."""
    assert read_input_geometry(BitImageProcessorPil(do_resize=False), 14).draft_size is None


# Processors that are refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": {"shortest_edge": 224}, "do_center_crop": False}, "varying size"),
        ({"do_resize": False, "do_center_crop": False}, "varying size"),
        ({"size": {"longest_edge": 224}}, "longest_edge"),
        ({"size": {"shortest_edge": 224, "longest_edge": 300}}, "longest_edge"),
        ({"size": {"max_height": 224, "max_width": 224}, "do_center_crop": False}, "varying size"),
        ({"size": {"min_pixels": 224, "max_pixels": 300}}, "min_pixels"),
    ],
)
def test_processors_without_a_fixed_size_are_refused(settings, words):
    with pytest.raises(ModelError, match=words):
        read_input_geometry(BitImageProcessorPil(**settings), 14)


def test_processor_without_a_fixed_size_can_be_given_one(tmp_path):
    preprocessing = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 224}, **_DO}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessing | {"do_center_crop": False}))
    processor = load_processor(Checkpoint("x", tmp_path, {"model_type": "dinov2"}), (140, 280))
    geometry = read_input_geometry(processor, 14)
    assert (geometry.input_size, geometry.grid) == ((140, 280), (10, 20))
    assert_box_is_what_is_seen(processor, geometry, 640, 480)


def test_processor_gives_whole_numbers():
    """The chain of geometry and the uint8 batch both rest on it."""
    processor = ViTImageProcessorPil(size={"height": 32, "width": 48})
    pixels = processor(coordinate_photo(64, 64, across=True), do_rescale=False, do_normalize=False)["pixel_values"][0]
    assert np.asarray(pixels).dtype == np.uint8
    assert np.asarray(pixels).shape == (3, 32, 48)
