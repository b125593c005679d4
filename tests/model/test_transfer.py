"""What passes between host and device: the host waits once a batch, and nothing changes on the way."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.maps.methods import METHODS
from pipeline.maps.passes import MapPlan
from pipeline.model import transfer
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.model.transfer import PendingOutput, stack_pixels
from tests.helpers.models import TINY_MODELS

META = torch.device("meta")  # tensors without values: whoever reads one fails, as one who reads a device's waits


def on_meta(classifier):
    network, encoder = copy.deepcopy((classifier.network, classifier.encoder))
    network.to(META)
    means = {name: getattr(classifier, name).to(META) for name in ("mean", "scale")}
    return replace(classifier, network=network, encoder=encoder, **means)


def load(checkpoint):
    return load_classifier(resolve_checkpoint(str(checkpoint)), device=torch.device("cpu"), precision="fp32")


@pytest.fixture
def copies(monkeypatch):
    """The shapes of the tensors copied from a device; their values are zeros here."""
    shapes = []

    def copy_to_host(values):
        shapes.append(tuple(values.shape))
        return torch.zeros(values.shape), None

    monkeypatch.setattr(transfer, "_copy_to_host", copy_to_host)
    return shapes


@pytest.mark.parametrize("family", TINY_MODELS)
def test_host_reads_once_a_batch_from_the_device(tiny_checkpoint, copies, family):
    classifier = on_meta(load(tiny_checkpoint(family)))
    height, width = classifier.geometry.input_size
    grid_h, grid_w = classifier.geometry.grid
    pixels = torch.zeros(3, 3, height, width, dtype=torch.uint8)
    for number, method in enumerate(METHODS):
        plan = MapPlan((method, "rollout" if method == "article" else "article"), discard_ratio=0.3, features=True)
        output = classifier.launch(pixels, plan)()
        assert len(copies) == number + 1
        assert output.maps[method].shape == (3, grid_h, grid_w)
        assert list(output.maps) == list(plan.methods)
    classifier.launch(pixels, MapPlan(("libragrad",)), targets=[0, 1, 1])
    assert len(copies) == len(METHODS) + 1


def test_a_host_that_reads_a_device_is_noticed():
    with pytest.raises(RuntimeError):
        torch.zeros(3, device=META).argmax().item()
    with pytest.raises(NotImplementedError):
        torch.zeros(3, device=META).cpu()


def test_output_arrives_as_it_was_sent():
    random = torch.Generator().manual_seed(0)
    logits, features = torch.randn(3, 5, generator=random).bfloat16(), torch.randn(3, 4, generator=random)
    maps = {"rollout": torch.rand(3, 2, 7, generator=random), "legrad": torch.rand(3, 2, 7, generator=random)}
    targets = torch.tensor([[4], [2**24 - 1], [0]])
    output = PendingOutput(logits, maps, targets, features).wait()
    np.testing.assert_array_equal(output.logits, logits.float().numpy())
    assert list(output.maps) == ["rollout", "legrad"]
    for method, values in maps.items():
        np.testing.assert_array_equal(output.maps[method], values.numpy())
    assert output.targets == [4, 2**24 - 1, 0]
    np.testing.assert_array_equal(output.features, features.numpy())
    bare = PendingOutput(logits, {}, None, None).wait()
    assert (bare.maps, bare.targets, bare.features) == ({}, None, None)


def test_images_are_stacked_in_their_order():
    images = [np.full((3, 2, 4), value, np.uint8) for value in (7, 0, 255)]
    stacked = stack_pixels(images, torch.device("cpu"))
    assert stacked.dtype == torch.uint8
    assert stacked.is_contiguous()
    np.testing.assert_array_equal(stacked.numpy(), np.stack(images))
