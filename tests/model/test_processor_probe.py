"""Image processors with further steps are refused by name; those without are supported, whatever their class."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import ModelError
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.load import load_classifier
from pipeline.model.processor import normalisation, open_preprocessing
from tests.helpers.models import TINY_MODELS, make_checkpoint

_DO = {"do_resize": True, "do_rescale": True, "do_normalize": True}
_SIZE = {"size": {"height": 48, "width": 48}}
_CROP = {"do_center_crop": True, "crop_size": {"height": 48, "width": 48}, "size": {"shortest_edge": 60}}


def processor(name, **settings):
    return {"image_processor_type": f"{name}ImageProcessor"} | _DO | settings


def open_with(folder, preprocessing, *, rescale=True, input_size=None):
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    checkpoint = Checkpoint("m", folder, {"model_type": "vit"})
    return open_preprocessing(checkpoint, 8, input_size=input_size, rescale=rescale)


@pytest.mark.parametrize(
    ("preprocessing", "words"),
    [
        (processor("EfficientNet", **_SIZE), r"EfficientNet.* \(include_top\): its values are off by"),
        (
            processor("EfficientNet", **_SIZE, include_top=False, rescale_offset=True, rescale_factor=1 / 127.5),
            r"EfficientNet.* \(rescale_offset\): its values are off by up to",
        ),
        (processor("ViT", **_SIZE, do_pad=True, pad_size={"height": 64, "width": 64}), r"ViT.*do_pad.*\(3, 64, 64\)"),
        (processor("Levit", **_CROP), "Levit.*another part of the photo"),
        (processor("PoolFormer", **_CROP, crop_pct=0.8), r"PoolFormer.*crop_pct.*another part"),
        (processor("Donut", **_SIZE), "Donut.*another part"),
        (processor("Perceiver", **_CROP | _SIZE | {"crop_size": {"height": 56, "width": 56}}), "Perceiver.*48"),
    ],
)
def test_processors_with_further_steps_are_refused(preprocessing, words, tmp_path):
    with pytest.raises(ModelError, match=f"^--model m: the image processor {words}.*; turn that off in "):
        open_with(tmp_path, preprocessing)


@pytest.mark.parametrize(
    "preprocessing",
    [
        *(case.preprocessing for case in TINY_MODELS.values()),
        processor("EfficientNet", **_SIZE, include_top=False),
        processor("MobileNetV2", **_CROP),
        processor("Bit", **_CROP | {"crop_size": {"height": 50, "width": 71}}),  # beyond the resized photo: padding
        processor("Bit", **_CROP | {"do_resize": False}),
        *(processor("ViT", size={"height": 40, "width": 64}, resample=filter_id) for filter_id in range(6)),
    ],
)
@pytest.mark.parametrize("rescale", [True, False])
def test_plain_processors_are_supported_whatever_their_class(preprocessing, rescale, tmp_path):
    opened = open_with(tmp_path, preprocessing, rescale=rescale)
    photo = Image.radial_gradient("L").resize((100, 70)).convert("RGB")
    expected = opened.processor(photo, **{} if rescale else {"do_rescale": False})["pixel_values"][0]
    pixels = opened.processor(photo, do_rescale=False, do_normalize=False)["pixel_values"][0]
    np.testing.assert_allclose((pixels - opened.mean[0].numpy()) * opened.scale[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("input_size", [(64, 64), (40, 96), (4096, 2048)])
def test_another_input_size_is_probed_too(input_size, tmp_path):
    assert open_with(tmp_path, processor("Bit", **_CROP), input_size=input_size).geometry.input_size == input_size
    with pytest.raises(ModelError, match="another part"):
        open_with(tmp_path, processor("Levit", **_CROP), input_size=input_size)


def test_a_single_number_normalises_all_channels(tmp_path):
    opened = open_with(tmp_path, processor("ViT", **_SIZE, image_mean=0.25, image_std=0.5))
    assert opened.mean.flatten().tolist() == pytest.approx([0.25 * 255] * 3)
    assert opened.scale.flatten().tolist() == pytest.approx([2 / 255] * 3)
    mean, _ = normalisation(opened.processor)
    assert torch.equal(mean, opened.mean)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_std": [0.5, 0, 0.5]}, r"image_std \(0.5, 0, 0.5\)"),
        ({"rescale_factor": 0}, "rescale_factor 0"),
        ({"image_mean": [0.5]}, "mean must have 3 elements"),
        ({"image_mean": None}, "can't be used|can't normalise"),
        ({"resample": 99}, "Unknown resampling filter"),
        ({"size": {"height": 0, "width": 48}}, "impossible sizes|varying size|without support"),
        ({"size": {"height": -5, "width": 48}}, "-5x48 pixels.*impossible"),
        ({"size": {"height": 10**9, "width": 10**9}}, "impossible sizes"),
        (_CROP | {"size": {"shortest_edge": 10**7}}, "impossible sizes"),
        (_CROP | {"crop_size": {"height": "wide"}}, "crop_size must have"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words, tmp_path):
    with pytest.raises(ModelError, match=f"^--model m: .*({words})"):
        open_with(tmp_path, processor("ViT", **_SIZE) | settings)


def test_a_whole_model_with_a_processor_of_another_class(tmp_path):
    folder = make_checkpoint(tmp_path / "model")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor("EfficientNet", **_SIZE, include_top=False)))
    config = json.loads((folder / "config.json").read_text())
    classifier = load_classifier(Checkpoint("m", folder, config), device="cpu", precision="fp32")
    pixels = torch.zeros(1, 3, 48, 48, dtype=torch.uint8)
    assert np.isfinite(classifier.predict(pixels, MapPlan()).logits).all()
