"""Hottest patches: cut where the map points, and compared."""

import numpy as np

from pipeline.trust.hot_patches import SIDE, cut_hot_patch, find_alike


def test_the_patch_lies_around_the_hottest_cell():
    pixels = np.zeros((3, 64, 96), np.uint8)
    pixels[:, 32:40, 48:56] = 200  # cell (4, 6) of 8 x 12
    heat = np.zeros((8, 12), np.float32)
    heat[4, 6] = 1
    patch = cut_hot_patch(pixels, heat, 8)
    assert patch.shape == (SIDE, SIDE)
    assert (patch[SIDE // 2 - 3 : SIDE // 2 + 3, SIDE // 2 - 3 : SIDE // 2 + 3] == 200).all()
    assert patch.mean() * SIDE**2 == np.float64(200 * SIDE**2 / 49)  # one of seven by seven cells


def test_at_an_edge_the_photo_is_continued():
    pixels = np.broadcast_to(np.uint8(90), (3, 32, 32))
    heat = np.zeros((4, 4), np.float32)
    for place in ((0, 0), (3, 3)):
        heat[:] = 0
        heat[place] = 1
        assert (cut_hot_patch(pixels, heat, 8) == 90).all()


def test_the_same_thing_is_alike_in_another_light_and_a_little_aside():
    rng = np.random.default_rng(0)
    thing = rng.integers(40, 200, (SIDE, SIDE)).astype(float)
    brighter, aside = 0.5 * thing + 90, np.roll(thing, (5, -6), axis=(0, 1))
    other, flat = rng.integers(0, 256, (SIDE, SIDE)), np.full((SIDE, SIDE), 100)
    alike = find_alike(np.stack([thing, brighter, aside, other, flat, flat]).astype(np.uint8))
    assert alike.tolist() == alike.T.tolist()
    assert np.argwhere(np.triu(alike)).tolist() == [[0, 1], [0, 2], [1, 2]]
