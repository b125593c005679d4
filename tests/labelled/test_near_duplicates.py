"""Photos that look the same, by their difference hashes."""

import numpy as np
from PIL import Image

from pipeline.labelled.near_duplicates import difference_hash, find_near_duplicates, warn_of_near_duplicates
from tests.helpers.photos import make_photos


def test_a_resized_and_brighter_copy_is_near_and_other_photos_are_not():
    photos = make_photos(12)
    copy = photos[0].resize((60, 44), Image.Resampling.BICUBIC).point(lambda value: min(255, value + 4))
    hashes = [difference_hash(np.asarray(photo)) for photo in [*photos, copy]]
    found = find_near_duplicates(hashes, ["train"] * 12 + ["test"], list(map(str, range(13))))
    assert (found.pairs, found.examples) == (1, ((12, 0),))


def test_pairs_are_those_of_a_loop():
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 60, dtype=np.uint64)
    hashes = np.concatenate([hashes, hashes ^ np.uint64(0b1011), hashes ^ np.uint64(0b11111)]).tolist()
    splits = random.choice(["train", "validation", "test"], len(hashes)).tolist()
    groups = random.choice(list("abcd"), len(hashes)).tolist()
    expected = sum(
        (hashes[i] ^ hashes[j]).bit_count() <= 4 and splits[i] != splits[j] and groups[i] != groups[j]
        for i in range(len(hashes))
        for j in range(i)
    )
    found = find_near_duplicates(hashes, splits, groups)
    assert found.pairs == expected > 0
    assert all((hashes[first] ^ hashes[second]).bit_count() <= 4 for first, second in found.examples)


def test_the_warning_counts_and_names(caplog):
    warn_of_near_duplicates(find_near_duplicates([], [], []), [])
    assert caplog.text == ""
    warn_of_near_duplicates(find_near_duplicates([5, 7], ["train", "test"], ["a", "b"]), ["x.png", "y.png"])
    assert "1 pairs of photos that look the same lie on both sides of a split, such as y.png = x.png" in caplog.text
