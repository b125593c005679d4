"""From a checkpoint to a model to train: every family, fewer blocks, another input size, another head."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from pipeline.errors import ConfigError, ModelError
from pipeline.training.backbone import build_classifier, build_processor, resample_positions
from pipeline.training.finetune import finetune
from tests.helpers.models import TINY_MODELS
from tests.training.marked_photos import CLASSES, save_marked_photos
from tests.training.reading_back import compute_plain_logits, compute_run_logits


@pytest.fixture(scope="module")
def few_photos(tmp_path_factory):
    return save_marked_photos(tmp_path_factory.mktemp("few") / "photos", count=3)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_every_family_with_fewer_blocks_and_another_input_size(name, settings, tiny_checkpoint, few_photos, tmp_path):
    model = tiny_checkpoint(name)
    result = finetune(settings(data=few_photos, model=str(model), blocks=2, input_size=64))
    files = sorted((few_photos / "ok").iterdir())
    logits, config = compute_plain_logits(tmp_path / "out", files)
    vision = getattr(config, "vision_config", config)
    assert (vision.num_hidden_layers, vision.image_size, logits.shape) == (2, 64, (3, 3))
    assert result.epochs == 1
    names = [file.name for file in files]
    run_logits = compute_run_logits(tmp_path / "out", few_photos / "ok", tmp_path / "run", names)
    assert run_logits == pytest.approx(logits, abs=1e-4)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_unchanged_size_keeps_the_backbone(name, tiny_checkpoint):
    """Everything but the head comes from the checkpoint: features are those of the published model."""
    folder = tiny_checkpoint(name)
    original = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager").eval()
    built = build_classifier(folder, ["a", "b"], input_size=48, blocks=None, seed=0)
    assert not built.head_kept
    original_weights = original.state_dict()
    for key, weights in built.model.state_dict().items():
        if "classifier" not in key:
            assert torch.equal(weights, original_weights[key]), key


def test_head_is_kept_for_the_same_classes(finished):
    again = build_classifier(finished.out, ["ok", "dot", "bar"], input_size=32, blocks=None, seed=5)
    assert again.head_kept
    assert again.labels == CLASSES  # in the order of the model, not as asked
    saved = load_file(finished.out / "model.safetensors")
    assert torch.equal(again.model.classifier.weight, saved["classifier.weight"])
    other = build_classifier(finished.out, ["ok", "dot", "hole"], input_size=32, blocks=None, seed=5)
    assert not other.head_kept
    assert not torch.equal(other.model.classifier.weight, saved["classifier.weight"])


@pytest.mark.parametrize("name", TINY_MODELS)
def test_rows_of_the_old_classes_are_kept_beside_new_ones(name, tiny_checkpoint):
    folder = tiny_checkpoint(name)
    original = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager")
    known = [original.config.id2label[index] for index in range(original.config.num_labels)]
    built = build_classifier(folder, [*known, "burr", "axe"], input_size=48, blocks=None, seed=5)
    assert (built.head_kept, built.new_classes, built.labels) == (True, ("burr", "axe"), (*known, "burr", "axe"))
    heads = 0
    for key, weights in original.state_dict().items():
        if "classifier" in key.partition(".")[0]:
            extended = built.model.state_dict()[key]
            assert len(extended) == len(known) + 2
            assert torch.equal(extended[: len(known)], weights), key
            heads += 1
    assert heads >= 2  # weights and biases
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, actual = (model.eval()(pixel_values=pixels).logits for model in (original, built.model))
    torch.testing.assert_close(actual[:, : len(known)], expected)


def test_seed_decides_the_new_head(tiny_checkpoint):
    first, again, other = (
        build_classifier(tiny_checkpoint("vit"), CLASSES, input_size=48, blocks=None, seed=seed).model.classifier.weight
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_positions_are_resampled_on_their_grid():
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    tokens = torch.cat([torch.full((2, 2), 99.0), torch.stack([rows.flatten(), columns.flatten()], 1)])
    resampled = resample_positions(tokens, (4, 6), (8, 12))
    assert torch.equal(resampled[:2], tokens[:2])
    grid = resampled[2:].view(8, 12, 2)[1:-1, 1:-1]
    assert (grid[..., 0].diff(dim=0) > 0).all()  # a downward ramp stays one
    assert (grid[..., 1].diff(dim=1) > 0).all()
    assert grid[..., 0].diff(dim=1).abs().max() < 1e-5


def test_another_input_size_matches_the_familys_own_interpolation(tiny_checkpoint):
    """DINOv2 interpolates positions on its own; stored for that size they must give the same features."""
    folder, pixels = tiny_checkpoint("dinov2"), torch.randn(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    original = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager").eval()
    built = build_classifier(folder, ["a", "b"], input_size=80, blocks=None, seed=0).model.eval()
    with torch.no_grad():
        expected, actual = (model.dinov2(pixels).last_hidden_state for model in (original, built))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 50}, "input_size = 50: not divisible by the patch size 8; use 48 or 56"),
        ({"blocks": 9}, "blocks = 9: the model has only 3"),
    ],
)
def test_sizes_that_do_not_fit_the_model(tiny_checkpoint, changes, message):
    sizes = {"input_size": 48, "blocks": None} | changes
    with pytest.raises(ConfigError, match=message):
        build_classifier(tiny_checkpoint("vit"), CLASSES, **sizes, seed=0)


def test_damaged_weights(tiny_checkpoint, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_checkpoint("vit"), damaged)
    (damaged / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="can't be loaded for classification"):
        build_classifier(damaged, CLASSES, input_size=48, blocks=None, seed=0)


def test_processor_stretches_the_whole_photo(tiny_checkpoint):
    folder = tiny_checkpoint("dinov2")
    source = json.loads((folder / "preprocessor_config.json").read_text())
    assert source["do_center_crop"]
    processor = build_processor(folder, 80)
    assert (processor.size["height"], processor.size["width"]) == (80, 80)
    assert not getattr(processor, "do_center_crop", None)
    assert list(processor.image_mean) == source["image_mean"]


def test_missing_preprocessing(tiny_checkpoint, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(tiny_checkpoint("vit"), folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"no usable preprocessor_config.json \(.*\); fetch it again"):
        build_processor(folder, 32)


@pytest.mark.parametrize("name", ["vit", "dinov2", "clip"])
def test_a_padding_processor_keeps_the_aspect(tiny_checkpoint, name):
    processor = build_processor(tiny_checkpoint(name), 48, "pad")
    assert not {"shortest_edge", "longest_edge"} & set(dict(processor.size))
    for size, box in (((96, 24), np.s_[18:30, :]), ((24, 96), np.s_[:, 18:30]), ((5, 5), np.s_[:, :])):
        white = Image.new("RGB", size, "white")
        pixels = processor(white, return_tensors="np")["pixel_values"][0].mean(axis=0)
        assert pixels.shape == (48, 48)
        expected = np.full((48, 48), pixels.min())
        expected[box] = pixels.max()
        np.testing.assert_allclose(pixels, expected, atol=1e-5)


def test_padded_model_gives_the_same_numbers_everywhere(settings, tmp_path):
    """Flat and upright photos of several sizes: in plain transformers, in a run, and in an evaluation."""
    photos, random = tmp_path / "photos", np.random.default_rng(0)
    for label, level in (("dark", 60), ("bright", 190)):
        (photos / label).mkdir(parents=True)
        for index, (width, height) in enumerate([(90, 20), (20, 90), (120, 50), (31, 64), (64, 31), (40, 40)]):
            pixels = random.normal(level, 30, (height, width, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(photos / label / f"{index}.png")
    result = finetune(settings(data=photos, resize="pad"))
    table = pd.read_csv(tmp_path / "out" / "split.csv")
    logits, config = compute_plain_logits(tmp_path / "out", [photos / name for name in table["path"]])
    run_logits = compute_run_logits(tmp_path / "out", photos, tmp_path / "run", table["path"])
    assert run_logits == pytest.approx(logits, abs=1e-4)
    is_test = (table["split"] == "test").to_numpy()
    truth = np.array([config.label2id[label] for label in table["label"]])
    right = logits.argmax(1) == truth
    assert right[is_test].mean() == pytest.approx(result.metrics["test"]["accuracy"])
    probabilities = torch.from_numpy(logits).softmax(1).numpy()[np.arange(len(truth)), truth]
    assert -np.log(probabilities[is_test]).mean() == pytest.approx(result.metrics["test"]["loss"], abs=1e-4)
