"""The list of what is supported, against transformers: every family can classify, and reads what the list says."""

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from pipeline.maps.capture import AttentionRecorder, install_recording_attention, record_attention
from pipeline.model.families import FAMILIES
from tests.helpers.models import LABELS, TINY_MODELS, build_network


def build(name):
    case = TINY_MODELS[name]
    config = case.config(num_labels=len(LABELS))
    return config, build_network(case.architecture, config)


def test_every_supported_family_has_a_tiny_model():
    assert {build(name)[0].model_type for name in TINY_MODELS} == set(FAMILIES)


def test_transformers_has_a_classifier_of_every_supported_family():
    assert set(FAMILIES) <= set(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_prefix_tokens_are_what_is_left_when_the_patches_are_counted(name):
    config, network = build(name)
    family = FAMILIES[config.model_type]
    registers = config.num_register_tokens if family.has_registers else 0
    install_recording_attention(network)
    with torch.no_grad(), record_attention(AttentionRecorder(1, "mean")) as recorder:
        network(torch.zeros(1, 3, 48, 48))
    assert recorder.layers[0].shape[-1] == family.readout_tokens + registers + 36
    assert family.readout_tokens == len(TINY_MODELS[name].readout)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_patches_are_the_last_tokens_row_by_row(name):
    _, network = build(name)
    seen = {}
    embedding = next(
        module for path, module in network.named_modules() if path.endswith("embeddings") and "patch" not in path
    )
    embedding.register_forward_hook(lambda module, arguments, output: seen.update(tokens=output[0]))
    picture = torch.zeros(1, 3, 48, 48)
    with torch.no_grad():
        network(picture)
        before = seen["tokens"]
        picture[:, :, 8:16, 32:40] = 1.0  # the patch of row 1, column 4
        network(picture)
    changed = (seen["tokens"] - before).abs().amax(dim=-1).nonzero().flatten().tolist()
    assert changed == [TINY_MODELS[name].prefix + 1 * 6 + 4]


def test_only_families_with_registers_are_marked_so():
    assert [name for name, family in FAMILIES.items() if family.has_registers] == ["dinov2_with_registers"]
