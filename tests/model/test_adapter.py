"""With peft installed, an adapter beside the weights counts: in runs, in trainings, and in the fingerprint."""

import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification

from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.training.backbone import build_classifier

peft = pytest.importorskip("peft", reason="peft is not installed")

PIXELS = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["vit", "dinov2"])
def folder(request, tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint(request.param), tmp_path / "model")


def load(folder):
    return load_classifier(resolve_checkpoint(str(folder)), device="cpu", precision="fp32")


def add_adapter(folder, seed=0):
    """Save a LoRA that changes the numbers, and a head of its own, beside the weights."""
    torch.manual_seed(seed)
    network = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager").eval()
    names = {name.rpartition(".")[2] for name, _ in network.named_modules()} & {"query", "q_proj", "fc1"}
    settings = peft.LoraConfig(target_modules=sorted(names), modules_to_save=["classifier"], r=2)
    adapted = peft.get_peft_model(network, settings).eval()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora" in name or "modules_to_save" in name:
                weight.normal_(0, 0.5)
    adapted.save_pretrained(folder)
    return adapted


@pytest.mark.parametrize("method", ["rollout", "libragrad"])
def test_an_adapter_is_merged(method, folder):
    plain = load(folder).predict(PIXELS, MapPlan((method,)))
    adapted = add_adapter(folder)
    classifier = load(folder)
    merged = classifier.predict(PIXELS, MapPlan((method,)))
    inputs = (PIXELS.float() - classifier.mean) * classifier.scale
    with torch.inference_mode():
        np.testing.assert_allclose(merged.logits, adapted(inputs).logits, atol=1e-4)
    assert np.abs(merged.logits - plain.logits).max() > 0.01
    assert not any("lora" in name for name, _ in classifier.network.named_modules())


def test_a_training_starts_from_the_merged_weights(folder):
    plain = build_classifier(folder, ["a", "b"], input_size=48, blocks=None, seed=0).model.state_dict()
    add_adapter(folder)
    merged = build_classifier(folder, ["a", "b"], input_size=48, blocks=None, seed=0).model.state_dict()
    assert set(plain) == set(merged)
    assert any(not torch.equal(plain[name], merged[name]) for name in plain if "classifier" not in name)


def test_the_digest_changes_with_the_adapter(folder):
    digests = {resolve_checkpoint(str(folder)).digest()}
    for seed in (0, 1):
        add_adapter(folder, seed)
        digests.add(resolve_checkpoint(str(folder)).digest())
    assert len(digests) == 3
