"""Features: the head's own weights make the logits of them, in every family and beside every kind of map."""

import numpy as np
import pytest
import torch

from pipeline.maps.methods import METHODS
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.cpu_streams import CpuStreams
from pipeline.model.features import find_heads
from pipeline.model.load import load_classifier
from pipeline.model.predictor import Predictor, split_by_photo
from tests.helpers.models import TINY_MODELS, save_tiny_vit

PLANS = {"no map": (), **{method: (method,) for method in METHODS}, "all": tuple(METHODS)}


def load(folder, precision="fp32"):
    return load_classifier(resolve_checkpoint(str(folder)), device="cpu", precision=precision)


def random_pixels(classifier, count=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *classifier.geometry.input_size), dtype=torch.uint8, generator=generator)


def logits_by_heads(classifier, features):
    """The logits (B, C) that the head's weights make of features, in float64."""
    heads = find_heads(classifier.network)
    parts = np.split(features.astype(np.float64), len(heads), axis=1)
    scores = [
        part @ head.weight.detach().double().numpy().T + head.bias.detach().double().numpy()
        for part, head in zip(parts, heads, strict=True)
    ]
    return np.mean(scores, axis=0)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_the_heads_weights_make_the_logits_of_the_features(name, tiny_checkpoint):
    classifier = load(tiny_checkpoint(name))
    for methods in PLANS.values():
        output = classifier.predict(random_pixels(classifier), MapPlan(methods, features=True))
        assert output.features.dtype == np.float32
        assert len(output.features) == 3  # legrad scores further rows
        np.testing.assert_allclose(logits_by_heads(classifier, output.features), output.logits, atol=1e-4, rtol=1e-4)


def test_the_second_head_of_a_deit_adds_its_own_features(tiny_checkpoint):
    one, two = (load(tiny_checkpoint(name)) for name in ("deit", "deit_with_teacher"))
    widths = [model.predict(random_pixels(model), MapPlan((), features=True)).features.shape[1] for model in (one, two)]
    assert widths == [32, 64]


def test_features_are_the_same_with_and_without_maps(tiny_checkpoint):
    classifier = load(tiny_checkpoint("dinov2"))
    pixels = random_pixels(classifier)
    alone = classifier.predict(pixels, MapPlan((), features=True)).features
    for methods in PLANS.values():
        beside = classifier.predict(pixels, MapPlan(methods, features=True)).features
        np.testing.assert_allclose(beside, alone, atol=1e-5, rtol=1e-4)


def test_a_head_with_one_output_has_features_too(tmp_path):
    classifier = load(save_tiny_vit(tmp_path, labels=1))
    output = classifier.predict(random_pixels(classifier), MapPlan(features=True))
    np.testing.assert_allclose(logits_by_heads(classifier, output.features), output.logits[:, :1], atol=1e-4)


def test_features_in_half_precision_are_float32(tiny_checkpoint):
    classifier = load(tiny_checkpoint("vit"), precision="bf16")
    assert classifier.predict(random_pixels(classifier), MapPlan(features=True)).features.dtype == np.float32


def test_features_stay_with_their_photos_in_streams_and_small_batches(tiny_checkpoint):
    classifier = load(tiny_checkpoint("dinov2"))
    pixels, plan = random_pixels(classifier, 7), MapPlan(("rollout", "legrad"), features=True)
    expected = classifier.predict(pixels, plan).features
    output = Predictor(CpuStreams(classifier, 2), plan, batch_size=3).predict(list(pixels.numpy()))
    np.testing.assert_allclose(output.features, expected, atol=1e-4)
    for photo, prediction in enumerate(split_by_photo(list(range(7)), output)):
        np.testing.assert_array_equal(prediction.features, output.features[photo])


def test_no_features_unless_asked_for_and_no_hook_stays(tiny_checkpoint):
    classifier = load(tiny_checkpoint("vit"))
    assert classifier.predict(random_pixels(classifier), MapPlan()).features is None
    assert not any(head._forward_pre_hooks for head in find_heads(classifier.network))
