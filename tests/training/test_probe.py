"""The linear probe: as sklearn computes it, inside the network's head, and its choices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.training.backbone import build_classifier
from pipeline.training.data import PhotoBatch
from pipeline.training.depth_features import embed_photos
from pipeline.training.device import TrainingDevice
from pipeline.training.probe import (
    ProbeData,
    choose_depth,
    count_harmless_views,
    fit_probe,
    predict_out_of_fold,
)

STRENGTH = 0.03


def draw_data(classes=3, count=90, width=8, distance=2.0, seed=0):
    """Draw normal classes some distance apart, with uneven scales and weights."""
    rng = np.random.default_rng(seed)
    label_ids = np.arange(count) % classes
    centres = distance * np.random.default_rng(99).normal(size=(classes, width))
    features = (centres[label_ids] + rng.normal(size=(count, width))) * np.geomspace(0.1, 30, width) + 5
    return ProbeData(features.astype(np.float32), label_ids, rng.uniform(0.5, 2, count), np.arange(count))


def fit_sklearn(data):
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=300))
    return probe.fit(data.features, data.label_ids, logisticregression__sample_weight=data.weights)


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_sklearns(classes):
    data, others = draw_data(classes), draw_data(classes, seed=1)
    probe, expected = fit_probe(data, STRENGTH), fit_sklearn(data).predict_log_proba(others.features)
    assert probe.weight.shape == (classes, 8)
    own = expected[np.arange(len(others.label_ids)), others.label_ids]
    np.testing.assert_allclose(probe.log_likelihoods(others), own, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["vit", "dinov2", "deit", "deit_with_teacher"])
def test_the_network_with_the_probe_as_its_head_predicts_as_sklearn(name, classes, tiny_checkpoint):
    """Of DeiT's two heads, each reads half of the features."""
    labels = [f"class {number}" for number in range(classes)]
    model = build_classifier(tiny_checkpoint(name), labels, input_size=48, blocks=None, seed=0).model.eval()
    pixels = torch.randn(24, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    label_ids = np.arange(24) % classes
    batch = PhotoBatch(pixels, torch.from_numpy(label_ids), torch.ones(24))
    (features,) = embed_photos(model, [batch], [3], TrainingDevice("cpu", "fp32"), lambda: False)
    data = ProbeData(features, label_ids, np.ones(24), np.arange(24))
    fit_probe(data, STRENGTH).install(model)
    with torch.no_grad():
        actual = model(pixel_values=pixels).logits.double().softmax(1).numpy()
    np.testing.assert_allclose(actual, fit_sklearn(data).predict_proba(features), atol=1e-4)


def test_copies_of_the_photos_share_their_weight():
    """A copy equal to its photo changes nothing."""
    data = draw_data()
    alone, twice = fit_probe(data, STRENGTH), fit_probe(data, STRENGTH, [data])
    np.testing.assert_allclose(twice.logits(data.features), alone.logits(data.features), atol=1e-4)
    other = fit_probe(data, STRENGTH, [draw_data(distance=0.0)])
    assert not np.allclose(other.logits(data.features), alone.logits(data.features), atol=0.1)


def test_weights_decide():
    """Photos of nearly no weight teach nothing: with their labels swapped, the others still decide."""
    data = draw_data(classes=2)
    swapped = np.arange(len(data.label_ids)) % 5 < 3
    wrong = ProbeData(
        data.features, np.where(swapped, 1 - data.label_ids, data.label_ids), np.where(swapped, 1e-6, 1.0), data.groups
    )
    predicted = fit_probe(wrong, STRENGTH).logits(data.features).argmax(1)
    assert (predicted == data.label_ids).mean() > 0.95


def test_the_depth_that_tells_the_classes_apart_is_chosen():
    """At the middle one of three depths they lie apart; the best loss is that depth's."""
    train, validation = (
        ProbeData(
            np.stack([draw_data(distance=distance, seed=seed).features for distance in (0.3, 2.0, 0.3)]),
            draw_data(seed=seed).label_ids,
            draw_data(seed=seed).weights,
            draw_data(seed=seed).groups,
        )
        for seed in (0, 1)
    )
    depth, strength, losses = choose_depth(train, validation, seed=0)
    assert depth == 1 == losses.argmin()
    assert losses.shape == (3,)
    assert strength == 0.3  # classes far apart: little regularisation
    assert losses[1] < 0.2 < 0.8 < losses[0]


def test_noise_is_regularised_most():
    train, validation = (
        ProbeData(data.features[None], data.label_ids, data.weights, data.groups)
        for data in (draw_data(distance=0.0), draw_data(distance=0.0, seed=1))
    )
    assert choose_depth(train, validation, seed=0)[1] == 0.003


def test_copies_that_contradict_the_photos_are_harmful():
    """Mirrored, the photos of one class are those of the other; turned, they stay."""
    data = draw_data(classes=2, distance=1.5)
    mirrored = 2 * data.features.mean(axis=0) - data.features
    turned = data.features + np.random.default_rng(3).normal(0, 0.01, data.features.shape).astype(np.float32)
    for views, harmless in (
        ((), 0),
        ((mirrored,), 0),
        ((turned,), 1),
        ((turned, mirrored), 1),
        ((mirrored, turned), 0),
    ):
        copies = [replace(data, features=features) for features in views]
        count, losses = count_harmless_views(data, copies, STRENGTH, seed=0)
        assert (count, len(losses)) == (harmless, 1 + len(views))


def test_each_photo_is_predicted_without_its_group():
    """Labels drawn by chance for groups of equal photos: known from a sibling they would be predicted surely."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 3)
    label_ids = rng.integers(0, 2, 40)[groups]
    data = ProbeData(rng.normal(size=(40, 60))[groups].astype(np.float32), label_ids, np.ones(120), groups)
    apart = predict_out_of_fold(data, 0.3, seed=0)
    torn = predict_out_of_fold(ProbeData(data.features, label_ids, data.weights, np.arange(120)), 0.3, seed=0)
    np.testing.assert_allclose(np.exp(apart).sum(axis=1), 1)
    assert (torn.argmax(1) == label_ids).mean() > 0.9
    assert (apart.argmax(1) == label_ids).mean() < 0.7


@pytest.mark.parametrize("label_ids", [[0, 1], [0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2]])
@pytest.mark.parametrize("is_one_group", [False, True])
def test_few_photos_are_enough_for_all_steps(label_ids, is_one_group):
    """With one photo of a class, or one group, there are no folds: nothing is known, nothing fails."""
    label_ids = np.array(label_ids)
    features = np.random.default_rng(0).normal(size=(len(label_ids), 4)).astype(np.float32)
    groups = np.zeros(len(label_ids), int) if is_one_group else np.arange(len(label_ids))
    data = ProbeData(features, label_ids, np.ones(len(label_ids)), groups)
    several = ProbeData(features[None], label_ids, data.weights, groups)
    assert np.isfinite(choose_depth(several, several, seed=0)[2]).all()
    assert count_harmless_views(data, [data], STRENGTH, seed=0)[0] == 1
    assert np.isfinite(predict_out_of_fold(data, STRENGTH, seed=0)).all()
