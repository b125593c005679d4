"""Intervals of photos in families: six equal photos are one witness."""

import numpy as np
import pytest

from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.families import count_effective, effective_share, list_members
from pipeline.evaluation.measure import gather_scores, measure
from pipeline.evaluation.result import PredictedPhoto
from pipeline.intervals import share_interval
from pipeline.labelled.splits import LabelledPhoto

LABELS = ("ok", "open", "short")
RNG = np.random.default_rng(0)


def measure_photos(tmp_path, copies, group, photos=60):
    """Measure random answers for photos, each repeated; `group` names the group of photo and copy."""
    rng = np.random.default_rng(1)
    predictions = []
    for index in range(photos):
        row = rng.dirichlet([1, 1, 1])
        label = LABELS[int(rng.choice(3, p=0.3 * row + 0.7 * np.eye(3)[row.argmax()]))]
        for copy in range(copies):
            photo = LabelledPhoto(f"{index}-{copy}.png", tmp_path, label, group=group(index, copy))
            predictions.append(PredictedPhoto(photo, row))
    config = EvaluateConfig(data=tmp_path, resamples=25)
    return measure(gather_scores(predictions, LABELS, "test", ("open", "short")), config)


def widths(evaluation):
    estimates = {**evaluation.metrics, **evaluation.f1, **{f"d {name}": e for name, e in evaluation.defects.items()}}
    return {name: estimate.high - estimate.low for name, estimate in estimates.items()}


def test_families_of_six_equal_photos_have_the_intervals_of_one_each(tmp_path):
    one = measure_photos(tmp_path, 1, lambda index, copy: None)
    six = measure_photos(tmp_path, 6, lambda index, copy: f"part-{index}")
    assert (one.resampled, six.resampled) == ("photos", "groups")
    for first, second in ((one.metrics, six.metrics), (one.f1, six.f1), (one.defects, six.defects)):
        assert first.keys() == second.keys()
        for name in first:
            assert vars(second[name]) == pytest.approx(vars(first[name]), abs=1e-6, nan_ok=True), name
    ungrouped = widths(measure_photos(tmp_path, 6, lambda index, copy: None))
    for name, width in widths(six).items():
        assert width > 1.5 * ungrouped[name], name


def test_groups_of_one_photo_are_photos(tmp_path):
    alone = measure_photos(tmp_path, 1, lambda index, copy: f"part-{index}")
    assert alone.resampled == "photos"
    assert alone.metrics == measure_photos(tmp_path, 1, lambda index, copy: None).metrics


def test_no_family_is_judged_by_a_threshold_chosen_on_its_members(tmp_path):
    six = measure_photos(tmp_path, 6, lambda index, copy: f"part-{index}").threshold.on_other_photos
    torn = measure_photos(tmp_path, 6, lambda index, copy: None).threshold.on_other_photos
    assert six.recall.high - six.recall.low > 1.5 * (torn.recall.high - torn.recall.low)


def test_effective_numbers():
    equal = np.repeat(np.arange(10), 4)
    assert count_effective(equal) == pytest.approx(10)
    assert count_effective(np.arange(7)) == 7
    assert count_effective(np.array([0, 0, 0, 0, 0, 0, 1, 2])) == pytest.approx(64 / 38)
    whole = np.repeat(np.arange(10) < 7, 4)
    assert effective_share(whole, equal) == pytest.approx((7, 10))
    mixed = np.tile([True, True, True, False], 10)  # each family has the same share: no less than single photos
    assert effective_share(mixed, equal) == pytest.approx((30, 40))
    assert effective_share(np.ones(40, bool), equal) == pytest.approx((10, 10))
    assert effective_share(np.zeros(0, bool), np.zeros(0, int)) == (0, 0)
    assert [members.tolist() for members in list_members(np.array([0, 1, 0, 2]))] == [[0, 2], [1], [3]]


def test_intervals_hold_the_true_share_of_correlated_photos():
    """Families of eight, with a chance of their own: the interval holds 95 times of 100, that of photos does not."""
    held, held_by_photos = [], []
    families = np.repeat(np.arange(30), 8)
    for _ in range(200):
        chances = RNG.beta(0.8, 0.4, 30)
        hits = RNG.random(240) < chances[families]
        for kept, pair in ((held, effective_share(hits, families)), (held_by_photos, (int(hits.sum()), 240))):
            low, high = share_interval(*pair)
            kept.append(low <= 2 / 3 <= high)
    assert np.mean(held) >= 0.93
    assert np.mean(held_by_photos) < 0.8
