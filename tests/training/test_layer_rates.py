"""Trainable parameters, and learning rates by depth."""

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import ConfigError
from pipeline.training.backbone import build_classifier
from pipeline.training.finetune import finetune
from pipeline.training.layer_rates import freeze_below, parameter_groups


@pytest.fixture
def dinov2(tiny_checkpoint):
    return build_classifier(tiny_checkpoint("dinov2"), ["a", "b"], input_size=48, blocks=None, seed=0).model


@pytest.mark.parametrize(("train_blocks", "trained"), [(0, {}), (1, {"2"}), (2, {"1", "2"}), (None, {"0", "1", "2"})])
def test_only_the_last_blocks_are_trained(dinov2, train_blocks, trained):
    freeze_below(dinov2, train_blocks)
    names = [name for name, parameter in dinov2.named_parameters() if parameter.requires_grad]
    assert {name.split(".")[3] for name in names if ".layer." in name} == set(trained)
    assert any("embeddings" in name for name in names) == (train_blocks is None)
    assert any("layernorm" in name for name in names) == (train_blocks != 0)
    assert "classifier.weight" in names


def test_more_blocks_than_the_model_has(dinov2):
    with pytest.raises(ConfigError, match="train_blocks = 4: the model has 3 blocks"):
        freeze_below(dinov2, 4)


def test_frozen_weights_stay_as_they_were(settings, tiny_checkpoint, tmp_path):
    finetune(settings(train_blocks=1, recipe="plain"))
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint("vit"), tmp_path / "out"))
    same = {name for name in before if name in after and torch.equal(before[name], after[name])}
    assert {name for name in before if "layer.0." in name or "layer.1." in name or "cls_token" in name} <= same
    assert not any("layer.2." in name and "weight" in name for name in same)


def test_rates_fall_by_depth_and_norms_do_not_decay(dinov2):
    name_of = {id(parameter): name for name, parameter in dinov2.named_parameters()}
    rates, decays = {}, {}
    for group in parameter_groups(dinov2, learning_rate=1.0, layer_decay=0.5, weight_decay=0.05):
        for parameter in group["params"]:
            rates[name_of[id(parameter)]] = group["lr"]
            decays[name_of[id(parameter)]] = group["weight_decay"]
    assert rates["classifier.weight"] == rates["dinov2.layernorm.weight"] == 1
    assert rates["dinov2.encoder.layer.2.mlp.fc1.weight"] == 0.5
    assert rates["dinov2.encoder.layer.0.mlp.fc1.weight"] == 0.125
    assert rates["dinov2.embeddings.cls_token"] == 0.0625
    assert decays["dinov2.encoder.layer.0.mlp.fc1.weight"] == 0.05
    for name in (
        "encoder.layer.0.layer_scale1.lambda1",
        "encoder.layer.0.norm1.weight",
        "embeddings.position_embeddings",
    ):
        assert decays[f"dinov2.{name}"] == 0
    assert rates.keys() == dict(dinov2.named_parameters()).keys()
