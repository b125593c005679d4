"""Shortcuts: a class with a stamp is named, classes without are not."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.trust.hot_patches import SIDE, cut_hot_patch
from pipeline.trust.shortcuts import count_testable_classes, find_fixed_places, find_repeated_patches

SAMPLES = Path(__file__).parents[2] / "sample_images"
STAMP = ("board-7158.png", (54, 17, 101, 65))  # a copper spot, with its surroundings


def make_maps(count, seed, grid=(12, 16)):
    """Maps with one hot spot each, anywhere."""
    rng = np.random.default_rng(seed)
    maps = rng.random((count, *grid)).astype(np.float32) * 0.02
    for one in maps:
        one[rng.integers(grid[0]), rng.integers(grid[1])] += 1
    return maps


def test_a_class_with_evidence_at_one_place_is_named_with_it():
    labels = np.repeat(["dent", "fray", "ok"], 12)
    maps = make_maps(36, seed=0)
    assert find_fixed_places(maps, labels, 0) == []
    maps[labels == "fray", 1, 14] += 2
    (suspect,) = find_fixed_places(maps, labels, 0)
    assert (suspect.label, suspect.kind, suspect.photos) == ("fray", "place", 12)
    assert suspect.share > 0.4 > 0.1 > suspect.others
    assert suspect.chance <= 0.005
    assert abs(suspect.column - 14 / 16) < 0.15
    assert abs(suspect.row - 1 / 12) < 0.15
    assert suspect.describe("libragrad").startswith("'fray' is suspected: ")
    assert " of the evidence (libragrad) for its 12 photos lies at one place of the frame, " in suspect.describe(
        "libragrad"
    )


def test_a_place_shared_by_all_classes_is_no_shortcut():
    """Parts in the middle of the frame are looked at there, whatever their class."""
    maps = make_maps(36, seed=1)
    maps[:, 6, 8] += 3
    assert find_fixed_places(maps, np.repeat(["dent", "fray", "ok"], 12), 0) == []


def test_negative_evidence_and_even_maps_count_for_nothing():
    labels = np.repeat(["a", "b"], 10)
    even = np.ones((20, 4, 4), np.float32)
    assert find_fixed_places(even, labels, 0) == []
    against = make_maps(20, seed=2)
    against[labels == "a", 1, 14] -= 5
    assert find_fixed_places(against, labels, 0) == []


@pytest.mark.parametrize(("counts", "tested"), [((7, 9), 0), ((8, 8), 2), ((30,), 0), ((8, 4, 4), 1)])
def test_few_photos_prove_nothing(counts, tested):
    labels = np.repeat([f"class-{number}" for number in range(len(counts))], counts)
    assert count_testable_classes(labels) == tested
    maps = make_maps(len(labels), seed=3)
    maps[labels == "class-0", 1, 14] += 2
    assert len(find_fixed_places(maps, labels, 0)) == min(tested, 1)


def test_classes_alike_but_for_chance_are_named_in_one_measurement_of_a_hundred_at_most():
    """Eight photos a class and six places: the largest share of a class is often above its threshold."""
    rng = np.random.default_rng(5)
    labels = np.repeat(["a", "b", "c", "d"], 8)
    named = 0
    for seed in range(100):
        maps = np.full((32, 8, 8), 1e-3, np.float32)
        for one, place in zip(maps, rng.integers(6, size=32), strict=True):
            one[1 + 4 * (place // 3), 1 + 3 * (place % 3) % 8] = 1
        named += bool(find_fixed_places(maps, labels, seed))
    assert named <= 3  # of 100 at 0.5%, four have a chance of 0.2%


def noise(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE)).astype(np.uint8)


def test_a_class_with_the_same_patch_is_named():
    labels = np.repeat(["fray", "ok"], [12, 20])
    patches, elsewhere = noise(32, 0), noise(32, 1)
    assert find_repeated_patches(patches, elsewhere, labels, 0) == []
    patches[:9] = np.roll(patches[0], (2, -3), axis=(0, 1))
    (suspect,) = find_repeated_patches(patches, elsewhere, labels, 0)
    assert (suspect.label, suspect.kind, suspect.photos, suspect.share) == ("fray", "patch", 12, 0.75)
    assert suspect.others < 0.15
    assert "shows the same thing in 75% of its 12 photos" in suspect.describe("attention")
    assert find_repeated_patches(patches, patches, labels, 0) == [], "the surface is the same everywhere"
    patches[12:24] = patches[0]
    assert find_repeated_patches(patches, elsewhere, labels, 0) == [], "the others have it too"


@pytest.fixture(scope="module")
def look():
    """Maps, hottest patches, random patches and labels by the bundled model, of boards."""
    model, rng = pipeline.load_model("bundled", method="attention"), np.random.default_rng(0)

    def look(boards):
        found = model.predict(boards)
        pixels = [np.asarray(board.resize((224, 224))).transpose(2, 0, 1) for board in boards]
        maps = np.stack([one.map for one in found])
        hottest, elsewhere = (
            np.stack([cut_hot_patch(*pair, 14) for pair in zip(pixels, heat, strict=True)])
            for heat in (maps, rng.random(maps.shape))
        )
        return maps, hottest, elsewhere, np.array([one.label for one in found])

    return look


@pytest.fixture(scope="module")
def boards():
    with (SAMPLES / "labels.csv").open(newline="") as file:
        names = [row["path"] for row in csv.DictReader(file) if row["path"].startswith("board-")]
    return [Image.open(SAMPLES / name).convert("RGB") for name in names]


def stamp_boards(boards, places):
    """Paste one real defect into boards, at these corners."""
    name, box = STAMP
    with Image.open(SAMPLES / name) as source:
        patch = source.convert("RGB").crop(box)
    stamped = [board.copy() for board in boards]
    for board, place in zip(stamped, places, strict=True):
        board.paste(patch, place)
    return stamped


def test_the_bundled_model_is_caught_where_its_class_bears_a_stamp(look, boards):
    stamped = stamp_boards(boards, [(62, 3)] * len(boards))
    maps, hottest, elsewhere, labels = look([*boards, *stamped])
    (place,) = find_fixed_places(maps, labels, 0)
    assert place.label == "copper"
    assert (place.row, place.column) == (pytest.approx(0.24, abs=0.1), pytest.approx(0.76, abs=0.1))
    assert [one.label for one in find_repeated_patches(hottest, elsewhere, labels, 0)] == ["copper"]


def test_the_bundled_model_is_caught_by_a_stamp_anywhere(look, boards):
    corners = np.random.default_rng(0).integers(0, 64, (len(boards), 2))
    maps, hottest, elsewhere, labels = look([*boards, *stamp_boards(boards, [tuple(xy) for xy in corners.tolist()])])
    assert find_fixed_places(maps, labels, 0) == []
    assert [one.label for one in find_repeated_patches(hottest, elsewhere, labels, 0)] == ["copper"]


def test_the_bundled_model_without_a_stamp_is_not_suspected(look, boards):
    turned = [board.transpose(Image.Transpose.ROTATE_90) for board in boards]
    maps, hottest, elsewhere, labels = look([*boards, *turned])
    assert count_testable_classes(labels) >= 1
    assert find_fixed_places(maps, labels, 0) == find_repeated_patches(hottest, elsewhere, labels, 0) == []
