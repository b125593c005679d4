"""Clusters of photos that look alike, on features drawn for known families."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.labelled.similar_photos import cluster_similar, compare_photos, find_nearest, set_similar_groups
from pipeline.labelled.splits import LabelledPhoto


def draw_families(count, size, noise=0.25, width=256, seed=0):
    """Return features (count * size, width) and the family of each photo, in a random order."""
    rng = np.random.default_rng(seed)
    families = rng.permutation(np.repeat(np.arange(count), size))
    centres = rng.normal(size=(count, width)) + 5  # far from 0: features must be centred
    return (centres[families] + noise * rng.normal(size=(len(families), width))).astype(np.float32), families


def pairs_of(groups):
    same = np.asarray(groups)[:, None] == np.asarray(groups)[None]
    return set(zip(*np.nonzero(np.triu(same, 1)), strict=True))


@pytest.mark.parametrize(("count", "size"), [(60, 6), (150, 4), (200, 2)])
def test_families_are_found_and_kept_apart(count, size):
    features, families = draw_families(count, size)
    found, true = pairs_of(cluster_similar(features)), pairs_of(families)
    assert len(found & true) / len(found) > 0.99
    assert len(found & true) / len(true) > 0.95


def test_unrelated_photos_stay_alone():
    features, _ = draw_families(600, 1)
    assert len(set(cluster_similar(features))) == 600


def test_a_few_kinds_are_not_families():
    """Of three kinds of photos all pairs of a kind are alike, as windows of bare board; whitening takes that out."""
    features, _ = draw_families(3, 200, noise=1.0)
    assert len(set(cluster_similar(features))) > 590


def test_a_chain_is_cut():
    """Each frame of a panning camera is like the next one; the first is nothing like the last."""
    rng = np.random.default_rng(0)
    anchors = rng.normal(size=(120, 256))
    place = np.linspace(0, 118.999, 400)
    at, share = place.astype(int), (place % 1)[:, None]
    features = (1 - share) * anchors[at] + share * anchors[at + 1] + 0.05 * rng.normal(size=(400, 256))
    groups = cluster_similar(features.astype(np.float32))
    assert groups[0] == groups[1]
    assert max(np.ptp(np.flatnonzero(groups == group)) for group in set(groups)) < 20


def test_copies_are_one_group_in_the_smallest_data():
    features = np.random.default_rng(0).normal(size=(8, 32))
    features[5] = features[2]
    assert pairs_of(cluster_similar(features)) == {(2, 5)}
    assert cluster_similar(features[:1]).tolist() == [0]
    assert len(cluster_similar(np.ones((3, 4)))) == 3  # nothing to tell them by


def test_a_component_larger_than_a_dendrogram_is_halved():
    features, families = draw_families(2, 2400, noise=0.02, width=6)
    groups = cluster_similar(np.concatenate([features, features + 1e-3])[:5000])
    assert len(groups) == 5000
    assert not pairs_of(groups[:300]) - pairs_of(families[:300])


def test_nearest_is_that_of_a_full_matrix_and_never_the_photo_itself():
    likeness = compare_photos(draw_families(30, 4)[0])
    cosines = likeness.vectors @ likeness.vectors.T
    np.fill_diagonal(cosines, -1)
    rows, others = np.arange(0, 120, 2), np.arange(60)
    nearest = find_nearest(likeness, rows, others)
    assert nearest.rows.tolist() == cosines[np.ix_(rows, others)].argmax(axis=1).tolist()
    assert nearest.cosines == pytest.approx(cosines[rows, nearest.rows])


def test_the_bar_rises_for_few_photos():
    bars = [compare_photos(draw_families(count, 1)[0]).least for count in (40, 120, 600)]
    assert bars[0] == 0.95
    assert bars[0] > bars[1] > bars[2] == 0.7


def test_photos_get_the_name_of_their_first():
    features, families = draw_families(30, 4)
    photos = [LabelledPhoto(f"{index}.png", Path(f"{index}.png"), "ok") for index in range(120)]
    grouped = set_similar_groups(photos, features)
    first = [f"{np.flatnonzero(families == family)[0]}.png" for family in families]
    assert [photo.group for photo in grouped] == first
