"""A sample of photos: spread over folders, and the same every time."""

import random
from collections import Counter, defaultdict
from posixpath import dirname

import pytest

from pipeline.photos.sample import Sampler, _draw_rank, choose_sample
from pipeline.records import ImageRef


def refs_of(counts):
    paths = [f"{folder}/{index}.jpg" for folder, count in counts.items() for index in range(count)]
    return [ImageRef(path, None, path, 0, 0) for path in paths]


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ({"a": 1000, "b": 1000, "c/d": 1000}, 30, {"a": 10, "b": 10, "c/d": 10}),
        ({"a": 1000, "b": 2, "c": 1}, 9, {"a": 6, "b": 2, "c": 1}),
        ({"a": 3, "b": 2}, 100, {"a": 3, "b": 2}),
    ],
)
def test_folders_take_turns(counts, size, expected):
    assert Counter(map(dirname, choose_sample(refs_of(counts), size))) == expected


def test_fewer_than_folders_are_spread_as_well():
    chosen = choose_sample(refs_of({f"{day:02}": 5 for day in range(60)}), 12)
    days = sorted(int(dirname(path)) for path in chosen)
    assert len(set(days)) == 12
    assert days[0] < 30 <= days[-1]


def test_order_and_later_photos_change_nothing_or_little():
    refs = refs_of({"a": 500, "b": 500})
    chosen = choose_sample(refs, 100)
    assert choose_sample(refs[::-1], 100) == chosen
    grown = choose_sample(refs_of({"a": 520, "b": 520}), 100)
    assert len(grown & chosen) > 80


def test_the_sample_is_no_run_of_names():
    numbers = sorted(int(path[2:-4]) for path in choose_sample(refs_of({"a": 1000}), 20))
    assert numbers[-1] - numbers[0] > 500


@pytest.mark.parametrize("seed", range(5))
def test_the_sample_of_photos_in_chunks_is_that_of_all_at_once(seed, monkeypatch):
    """Folders of all sizes, in any order, and hardly any room for the photos outside the sample."""
    monkeypatch.setattr("pipeline.photos.sample._SPARE", 3)
    draw = random.Random(seed)
    refs = refs_of({f"{folder:02}": draw.choice([1, 2, 40, 200]) for folder in range(20)})
    draw.shuffle(refs)
    sampler = Sampler(25)
    start = 0
    while start < len(refs):
        end = start + draw.randint(1, 50)
        sampler.add(ref.path for ref in refs[start:end])
        start = end
    assert sampler.chosen() == choose_all_at_once(refs, 25)


def choose_all_at_once(refs, count):
    """Sort all photos by their turn in their folder, then by rank."""
    folders = defaultdict(list)
    for ref in refs:
        folders[dirname(ref.path)].append((_draw_rank(ref.path), ref.path))
    photos = sorted((turn, *photo) for folder in folders.values() for turn, photo in enumerate(sorted(folder)))
    return {path for _, _, path in photos[:count]}
