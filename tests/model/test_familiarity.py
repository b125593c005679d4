"""How unlike the training photos: distances by a plain formula, and the scale by hand."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from pipeline.model.familiarity import fit_familiarity
from pipeline.records import UNFAMILIAR_FROM


def draw(count, *, width=24, classes=3, seed=0, shift=0.0):
    """Features around three class means, stretched along a few directions; and their labels."""
    means = np.random.default_rng(7).normal(0, 6, (classes, width))
    mix = np.random.default_rng(8).normal(0, 1, (width, width)) * np.geomspace(3, 0.05, width)
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    return (means[labels] + random.normal(0, 1, (count, width)) @ mix + shift).astype(np.float32), labels


def scale(features):
    """Features of length 1, as the distances compare them."""
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def fit(count=400, held_out=200, **options):
    features, labels = draw(count)
    return fit_familiarity(features, labels.tolist(), draw(held_out, seed=1)[0], **options)


@pytest.mark.parametrize("directions", [24, 8])
def test_distances_are_those_of_mahalanobis(directions, monkeypatch):
    """With fewer directions than values, the others share one variance."""
    monkeypatch.setattr("pipeline.model.familiarity._MOST_DIRECTIONS", directions)
    features, labels = draw(400)
    features = scale(features.astype(np.float64))
    means = np.stack([features[labels == label].mean(axis=0) for label in range(3)])
    variances, vectors = np.linalg.eigh(LedoitWolf(assume_centered=True).fit(features - means[labels]).covariance_)
    if rest := 24 - directions:
        variances[:rest] = variances[:rest].mean()
    inverse = vectors / variances @ vectors.T
    photos = np.concatenate([draw(20, seed=2)[0], draw(20, seed=3, shift=2)[0]])
    expected = [min(mahalanobis(photo, mean, inverse) for mean in means) for photo in scale(photos)]
    familiarity = fit()
    assert familiarity.directions.shape == (24, directions)
    np.testing.assert_allclose(familiarity.distance(photos), expected, rtol=5e-3)
    np.testing.assert_allclose(familiarity.distance(3 * photos), expected, rtol=5e-3)


def test_unfamiliarity_is_the_share_of_held_out_photos_more_typical():
    familiarity = fit(held_out=1000)
    assert len(familiarity.distances) == 400, "quantiles of them"
    distances = familiarity.distance(draw(1000, seed=1)[0])
    photos = draw(300, seed=2)[0]
    found = familiarity.unfamiliarity(photos)
    assert found.dtype == np.float32
    expected = (distances < familiarity.distance(photos)[:, None]).mean(axis=1)
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert (found > UNFAMILIAR_FROM).mean() < 0.03
    assert (familiarity.unfamiliarity(draw(300, seed=2, shift=5)[0]) > UNFAMILIAR_FROM).all()


@pytest.mark.parametrize("held_out", [1, 2, 40, 99, 300, 3000])
def test_the_scale_rises_smoothly_to_one_past_the_last_held_out_photo(held_out):
    familiarity = fit(held_out=held_out)
    last = familiarity.distances[-1]
    distances = np.linspace(0, 10 * last, 5000)
    found = familiarity.share_below(distances)
    assert (np.diff(found) >= 0).all()
    assert np.diff(found).max() < 0.1
    assert familiarity.share_below(np.array([last])) == pytest.approx(held_out / (held_out + 1), abs=1e-6)
    assert found[-1] > 0.9999
    assert np.isfinite(found).all()


def test_forty_held_out_photos_are_enough_for_a_mark():
    """One mean excess of the largest of them past the last one."""
    familiarity = fit(held_out=40)
    distances = np.sort(familiarity.distance(draw(40, seed=1)[0]))
    excess = (distances[-4:] - distances[-5]).mean()
    assert familiarity.tail[0] == pytest.approx(excess, rel=1e-4)
    assert 1 - 1 / 41 * np.exp(-1) > UNFAMILIAR_FROM


def test_one_class_few_photos_and_constant_features_give_numbers():
    features, _ = draw(5)
    features[:, 0] = 3
    familiarity = fit_familiarity(features, [4] * 5, draw(2, seed=1)[0])
    assert np.isfinite(familiarity.unfamiliarity(draw(5, seed=2)[0])).all()
    same = np.ones((5, 24), np.float32)
    found = fit_familiarity(same, [0] * 5, same[:2]).unfamiliarity(np.stack([same[0], np.arange(24, dtype=np.float32)]))
    assert found[0] < UNFAMILIAR_FROM < found[1]


def test_what_can_not_be_fitted_is_refused():
    features, labels = draw(10)
    with pytest.raises(ValueError, match="no training photos, or none held out"):
        fit_familiarity(features, labels.tolist(), features[:0])
    with pytest.raises(ValueError, match="not finite"):
        fit_familiarity(features * np.inf, labels.tolist(), features)


def test_the_digest_is_that_of_the_numbers():
    assert fit().digest() == fit(precision="bf16").digest()
    assert fit().digest() != fit(held_out=199).digest()
