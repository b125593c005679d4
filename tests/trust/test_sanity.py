"""Sanity checks: shuffled weights, and the likeness of maps."""

import numpy as np
import pytest
import torch

from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.trust.sanity import rank_correlation, shuffle_weights

MAP = np.array([[0.1, 0.4], [0.2, 0.3]], np.float32)


def test_shuffled_weights_are_the_same_values_in_another_order(tiny_vit):
    classifier = load_classifier(resolve_checkpoint(str(tiny_vit)), device="cpu", precision="fp32")
    before = {name: weights.clone() for name, weights in classifier.network.state_dict().items()}
    shuffled = shuffle_weights(classifier, seed=0)
    for name, weights in shuffled.network.state_dict().items():
        assert torch.equal(classifier.network.state_dict()[name], before[name])  # untouched
        assert torch.equal(weights.flatten().sort().values, before[name].flatten().sort().values)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    own, other = (model.predict(pixels, MapPlan(("rollout",))) for model in (classifier, shuffled))
    assert not np.allclose(own.logits, other.logits)
    assert not np.allclose(own.maps["rollout"], other.maps["rollout"])


def test_correlation_is_of_ranks():
    assert rank_correlation(MAP, MAP**3) == pytest.approx(1)
    assert rank_correlation(MAP, -MAP) == pytest.approx(-1)
    assert np.isnan(rank_correlation(MAP, np.ones((2, 2), np.float32)))
