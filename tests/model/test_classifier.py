"""A checkpoint as a classifier: for every family the logits of transformers, and maps by full float64 products."""

import gc
import json
import logging
import shutil
import weakref
from functools import cache
from importlib import import_module
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTConfig

import pipeline.maps.passes
from pipeline.errors import ConfigError, ModelError
from pipeline.maps.methods import METHODS
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.model.processor import load_processor
from tests.helpers import reference
from tests.helpers.models import LABELS, TINY_MODELS, build_network, make_checkpoint, save_checkpoint
from tests.helpers.photos import make_photos

FAMILIES = list(TINY_MODELS)
CPU = torch.device("cpu")
PHOTOS = make_photos(8)
FINER = {"square": (72, 72), "wide": (48, 80), "tall": (104, 56), "not whole patches": (60, 77)}


def load(folder, *, precision="fp32", **options):
    return load_classifier(resolve_checkpoint(str(folder)), device=CPU, precision=precision, **options)


@pytest.fixture(scope="module")
def classifier(tiny_checkpoint):
    """From a name in `TINY_MODELS` to its classifier in fp32, loaded once."""
    return cache(lambda name: load(tiny_checkpoint(name)))


@pytest.fixture(scope="module")
def truth(tiny_checkpoint):
    """What plain transformers says of each photo alone: logits (C,), and attention, L arrays (heads, N, N)."""

    @cache
    def of(name):
        folder = tiny_checkpoint(name)
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        plain = AutoModelForImageClassification.from_pretrained(folder)  # whatever attention is its default
        eager = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager")
        logits, attentions = [], []
        with torch.inference_mode():
            for photo in PHOTOS:
                inputs = processor(photo, return_tensors="pt")
                logits.append(plain(**inputs).logits[0].numpy())
                layers = eager(**inputs, output_attentions=True).attentions
                attentions.append([layer[0].double().numpy() for layer in layers])
        return np.stack(logits), attentions

    return of


def model_pixels(classifier, photos):
    """What the loader hands over: (B, 3, H, W) uint8."""
    rows = [classifier.processor(photo, do_rescale=False, do_normalize=False)["pixel_values"][0] for photo in photos]
    assert all(row.dtype == np.uint8 for row in rows)
    return torch.from_numpy(np.stack(rows))


def predict(classifier, photos, method="rollout", **settings):
    """Logits (B, C) and the maps of one method, (B, grid_h, grid_w)."""
    output = classifier.predict(model_pixels(classifier, photos), MapPlan((method,), **settings))
    return output.logits, output.maps[method]


def plain_output(folder, photos, *, size=None, do_rescale=None):
    """Plain transformers, eager, on these photos at a size: logits (B, C) and L tensors (B, heads, N, N)."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    options = {} if do_rescale is None else {"do_rescale": do_rescale}
    finer = {}
    if size is not None:
        height, width = size
        if getattr(processor, "do_center_crop", False):  # resized in proportion, cropped to the wanted size
            zoom = max(height / 48, width / 48)
            options["size"] = {side: round(54 * zoom) for side, length in dict(processor.size).items() if length}
            options["crop_size"] = {"height": height, "width": width}
        else:
            options["size"] = {"height": height, "width": width}
        finer = {"interpolate_pos_encoding": True}
    network = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager")
    inputs = torch.cat([processor(photo, return_tensors="pt", **options).pixel_values for photo in photos])
    with torch.inference_mode():
        output = network(pixel_values=inputs, output_attentions=True, **finer)
    return output.logits.numpy(), output.attentions


@pytest.mark.parametrize("name", FAMILIES)
def test_the_tiny_models_can_prove_something(name, truth):
    logits, attentions = truth(name)
    assert logits.std(axis=0).max() > 0.1  # photos differ
    for layer in range(3):
        heads = np.stack([attention[layer] for attention in attentions])  # (images, heads, N, N)
        assert heads.max(axis=-1).mean() > 8 / heads.shape[-1]  # peaked
        assert np.abs(heads[0] - heads[1]).max() > 0.05  # and different from photo to photo


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_transformers(name, batch, classifier, truth):
    logits, _ = predict(classifier(name), PHOTOS[:batch])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, truth(name)[0][:batch], atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["rollout", "article"])
@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("name", FAMILIES)
def test_maps_equal_a_full_matrix_rollout_in_float64(name, batch, method, classifier, truth):
    case, (_, attentions) = TINY_MODELS[name], truth(name)
    for head_fusion, discard_ratio in product(["mean", "max", "min"], [0.0, 0.3, 0.9]):
        settings = {"method": method, "head_fusion": head_fusion, "discard_ratio": discard_ratio}
        _, maps = predict(classifier(name), PHOTOS[:batch], **settings)
        assert maps.shape == (batch, 6, 6)
        assert maps.dtype == np.float32
        for image in range(batch):
            expected = reference.rollout_map(
                attentions[image], (6, 6), prefix=case.prefix, readout=case.readout, **settings
            )
            np.testing.assert_allclose(maps[image], expected, atol=1e-5, rtol=0, err_msg=f"{settings}, image {image}")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_map_and_what_falls_on_the_prefix_tokens_sum_to_one(name, classifier, truth):
    case, (_, attentions) = TINY_MODELS[name], truth(name)
    _, maps = predict(classifier(name), PHOTOS[:1])
    shares = reference.rollout_tokens(attentions[0], readout=case.readout)
    assert maps.sum() + shares[: case.prefix].sum() == pytest.approx(1, abs=1e-5)


def test_registers_take_part_in_the_product_and_not_in_the_map(classifier, truth):
    _, maps = predict(classifier("dinov2_with_registers"), PHOTOS[:1])
    layers = truth("dinov2_with_registers")[1][0]
    without = [np.delete(np.delete(heads, range(1, 5), axis=1), range(1, 5), axis=2) for heads in layers]
    cut_out = reference.rollout_map(without, (6, 6), prefix=1, readout=(0,))
    assert np.abs(maps[0] - cut_out).max() > 1e-3
    assert classifier("dinov2_with_registers").prefix_tokens == 5


def test_relative_position_bias_matters(tiny_checkpoint, classifier):
    biased = classifier("beit")
    before = predict(biased, PHOTOS[:1])
    unbiased = load(tiny_checkpoint("beit"))
    for name, weight in unbiased.network.named_parameters():
        if "relative_position_bias_table" in name:
            weight.data.zero_()
    after = predict(unbiased, PHOTOS[:1])
    assert np.abs(before[1] - after[1]).max() > 1e-3


@pytest.mark.parametrize("size", FINER.values(), ids=FINER)
@pytest.mark.parametrize("name", FAMILIES)
def test_another_input_size_equals_transformers_with_interpolated_positions(name, size, tiny_checkpoint):
    case = TINY_MODELS[name]
    finer = load(tiny_checkpoint(name), input_size=size)
    grid = size[0] // 8, size[1] // 8
    assert finer.geometry.grid == grid
    assert finer.geometry.input_size == size
    logits, maps = predict(finer, PHOTOS[:2])
    expected, attentions = plain_output(tiny_checkpoint(name), PHOTOS[:2], size=size)
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
    assert maps.shape == (2, *grid)
    for image in range(2):
        layers = [layer[image].double().numpy() for layer in attentions]
        truth = reference.rollout_map(layers, grid, prefix=case.prefix, readout=case.readout)
        np.testing.assert_allclose(maps[image], truth, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_checkpoints_own_size_asked_for_changes_nothing(name, tiny_checkpoint, truth):
    logits, _ = predict(load(tiny_checkpoint(name), input_size=(48, 48)), PHOTOS[:2])
    np.testing.assert_allclose(logits, truth(name)[0][:2], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["vit", "clip"])
def test_an_input_smaller_than_a_patch_is_refused(name, tiny_checkpoint):
    with pytest.raises((ConfigError, ModelError), match="patch"):
        load(tiny_checkpoint(name), input_size=(48, 7))


@pytest.mark.parametrize("grid", [(3, 12), (4, 6)])
def test_a_model_made_for_wide_photos_keeps_its_grid(grid, tmp_path):
    # 3 x 12 patches are 36 = 6 x 6: whoever infers a square grid gets a wrong map without an error
    height, width = 8 * grid[0], 8 * grid[1]
    config = ViTConfig(**_small_vit(), image_size=[height, width])
    preprocessing = TINY_MODELS["vit"].preprocessing | {"size": {"height": height, "width": width}}
    folder = save_checkpoint(tmp_path, build_network("ViTForImageClassification", config), preprocessing)
    logits, maps = predict(load(folder), PHOTOS[:2])
    expected, attentions = plain_output(folder, PHOTOS[:2])
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
    assert maps.shape == (2, *grid)
    layers = [layer[1].double().numpy() for layer in attentions]
    np.testing.assert_allclose(maps[1], reference.rollout_map(layers, grid, prefix=1), atol=1e-5, rtol=0)


def test_another_size_for_a_model_made_for_wide_photos_is_refused(tmp_path):
    # transformers reads its 3 x 12 positions as 6 x 6 when it interpolates them
    config = ViTConfig(**_small_vit(), image_size=[24, 96])
    folder = save_checkpoint(
        tmp_path, build_network("ViTForImageClassification", config), TINY_MODELS["vit"].preprocessing
    )
    with pytest.raises(ModelError, match=r"24.*96"):
        load(folder)


def _small_vit():
    return {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "patch_size": 8,
        "num_labels": 3,
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_no_rescale_equals_the_processor_without_rescaling(name, tiny_checkpoint, truth):
    logits, _ = predict(load(tiny_checkpoint(name), rescale=False), PHOTOS[:3])
    expected, _ = plain_output(tiny_checkpoint(name), PHOTOS[:3], do_rescale=False)
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-5)
    assert np.abs(expected - truth(name)[0][:3]).max() > 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"image_mean": [0.1, 0.5, 0.9], "image_std": [0.2, 0.4, 0.6]},
    ],
    ids=str,
)
def test_rescaling_and_normalising_follow_the_checkpoint(changes, tiny_checkpoint, tmp_path):
    folder = changed_copy(tiny_checkpoint("vit"), tmp_path / "changed", **changes)
    logits, _ = predict(load(folder), PHOTOS[:2])
    expected, _ = plain_output(folder, PHOTOS[:2])
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-5)


def changed_copy(folder, copy, *, file="preprocessor_config.json", **changes):
    shutil.copytree(folder, copy)
    settings = json.loads((copy / file).read_text()) | changes
    (copy / file).write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    return copy


@pytest.mark.parametrize(
    "saved_as",
    [
        {"image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor"},
        {"image_processor_type": "ViTImageProcessorFast"},
        {"image_processor_type": "ViTImageProcessorPil"},
        {"image_processor_type": None},
        {"size": 48, "image_processor_type": None},
    ],
    ids=str,
)
def test_processors_of_every_time_are_understood(saved_as, tiny_checkpoint, tmp_path, truth):
    folder = changed_copy(tiny_checkpoint("vit"), tmp_path / "changed", **saved_as)
    logits, _ = predict(load(folder), PHOTOS[:2])
    np.testing.assert_allclose(logits, truth("vit")[0][:2], atol=1e-4, rtol=0)


def test_labels_are_in_the_order_of_the_logits(classifier):
    assert classifier("clip").labels == LABELS


def test_labels_of_more_than_ten_classes_are_ordered_by_number(tmp_path):
    config = ViTConfig(
        **{**_small_vit(), "num_labels": 12}, image_size=16, id2label={index: f"class {index}" for index in range(12)}
    )
    preprocessing = TINY_MODELS["vit"].preprocessing | {"size": {"height": 16, "width": 16}}
    folder = save_checkpoint(tmp_path, build_network("ViTForImageClassification", config), preprocessing)
    assert load(folder).labels == tuple(f"class {index}" for index in range(12))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_model_used_plainly_after_loading_is_unchanged(name, classifier, tiny_checkpoint):
    network = classifier(name).network
    predict(classifier(name), PHOTOS[:1])
    plain = AutoModelForImageClassification.from_pretrained(tiny_checkpoint(name))
    assert not network.training
    state = plain.state_dict()
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(weight, state[key]) for key, weight in network.state_dict().items())
    inputs = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network(inputs).logits, plain(inputs).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_bf16_agrees_with_fp32(name, classifier, tiny_checkpoint):
    photos = make_photos(16, seed=1)
    halved = load(tiny_checkpoint(name), precision="bf16")
    assert halved.network.dtype == torch.bfloat16
    exact_logits, exact = predict(classifier(name), photos)
    logits, maps = predict(halved, photos)
    assert logits.dtype == maps.dtype == np.float32
    top_two = np.sort(exact_logits, axis=-1)[:, -2:]
    clear = top_two[:, 1] - top_two[:, 0] > 0.05  # a tie within bf16's rounding proves nothing
    assert clear.sum() >= 8
    assert (logits.argmax(-1) == exact_logits.argmax(-1))[clear].all()
    correlations = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps, exact, strict=True)]
    assert np.mean(correlations) >= 0.99
    assert not np.array_equal(maps, exact)


def test_a_map_in_bf16_has_as_many_values_as_patches(tiny_checkpoint):
    # softmax, fusion or rollout in bfloat16 leave about 150 distinct values
    fine = load(tiny_checkpoint("vit"), precision="bf16", input_size=(192, 192))
    _, maps = predict(fine, PHOTOS[:2])
    assert maps.shape == (2, 24, 24)
    assert min(len(np.unique(one)) for one in maps) > 550


@pytest.mark.parametrize("method", ["rollout", "article"])
def test_no_attention_is_kept_after_a_prediction(method, classifier, monkeypatch):
    seen = []
    compute_map = METHODS[method].load()

    def watched(attention):
        seen.extend(weakref.ref(layer) for layer in attention.layers)
        return compute_map(attention)

    module, _, name = METHODS[method].function.partition(":")
    monkeypatch.setattr(import_module(module), name, watched)
    predict(classifier("vit"), PHOTOS[:3], method=method)
    gc.collect()
    assert len(seen) == 3
    assert all(layer() is None for layer in seen)


def test_captures_that_do_not_fit_end_the_run(classifier, monkeypatch):
    monkeypatch.setattr(pipeline.maps.passes, "record_attention", _record_nothing)
    with pytest.raises(RuntimeError, match="captured 0 layers"):
        predict(classifier("vit"), PHOTOS[:1])


class _record_nothing:  # noqa: N801, stands in for a function
    layers, shapes = (), ()

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_predicting_leaves_the_pixels_as_they_were(classifier):
    pixels = model_pixels(classifier("vit"), PHOTOS[:2])
    before = pixels.clone()
    classifier("vit").predict(pixels, MapPlan())
    assert torch.equal(pixels, before)


def test_loading_is_quiet(tiny_checkpoint, capfd, caplog):
    with caplog.at_level(logging.INFO):
        load(tiny_checkpoint("beit"))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert caplog.records == []


def test_a_processor_of_its_own_for_another_size(tiny_checkpoint):
    checkpoint = resolve_checkpoint(str(tiny_checkpoint("clip")))
    processor = load_processor(checkpoint, (96, 48))
    photo = make_photos(1)[0]
    assert processor(photo)["pixel_values"][0].shape == (3, 96, 48)
    assert load_processor(checkpoint)(photo)["pixel_values"][0].shape == (3, 48, 48)


def test_a_seeded_checkpoint_is_the_same_every_time(tmp_path):
    first, second = (resolve_checkpoint(str(make_checkpoint(tmp_path / name))) for name in "ab")
    assert first.digest() == second.digest()
