"""Near-duplicates in the queue."""

import numpy as np

from pipeline.review.near_duplicates import push_back_near_duplicates


def some_map(seed, noise=0.0):
    random = np.random.default_rng(seed)
    return (random.random(196) + noise * np.random.default_rng(1000 + seed).standard_normal(196)).astype(np.float32)


def order_of(maps, labels=None, last=50):
    labels = np.zeros(len(maps), np.int64) if labels is None else np.array(labels)
    return push_back_near_duplicates(maps, labels, last).tolist()


def test_different_photos_stay_in_their_order():
    assert order_of([some_map(seed) for seed in range(20)]) == [*range(20)]


def test_a_near_photo_waits_until_the_other_is_out_of_sight():
    maps = [some_map(0), some_map(0, noise=0.01), *(some_map(seed) for seed in range(1, 6))]
    assert order_of(maps, last=3) == [0, 2, 3, 4, 1, 5, 6]


def test_another_label_is_another_question():
    maps = [some_map(0), some_map(0), some_map(1)]
    assert order_of(maps, [0, 1, 0]) == [0, 1, 2]


def test_the_scale_of_a_map_does_not_matter():
    maps = [some_map(0), 7 * some_map(0) + 3, some_map(1)]
    assert order_of(maps) == [0, 2, 1]


def test_if_all_are_near_their_order_stays():
    assert order_of([some_map(0)] * 120) == [*range(120)]


def test_two_bursts_alternate():
    maps = [some_map(0)] * 3 + [some_map(1)] * 3
    assert order_of(maps, last=2) == [0, 3, 1, 4, 2, 5]


def test_maps_of_other_grids_uniform_and_missing_maps_are_near_to_none():
    uniform = np.ones(196, np.float32)
    maps = [some_map(0), some_map(0)[:49], None, None, uniform, uniform]
    assert order_of(maps) == [*range(6)]


def test_no_photo():
    assert order_of([]) == []
