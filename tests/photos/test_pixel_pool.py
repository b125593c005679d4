"""Pixels in shared memory: no place is used twice while somebody reads it, and none is lost."""

import gc
import os

import numpy as np
import pytest

from pipeline.photos import pixel_pool
from pipeline.photos.discover import discover
from pipeline.photos.load_photo import load_sample
from pipeline.photos.loader import PhotoLoader
from pipeline.photos.pixel_pool import PixelPool
from tests.helpers.photos import save_photos
from tests.photos.test_loader import SPEC

SHAPE = (3, 4, 5)


def filled(value):
    return np.full(SHAPE, value, np.uint8)


def test_a_place_is_free_again_once_its_pixels_are_garbage():
    pool = PixelPool(2, SHAPE)
    places = [pool.take(), pool.take()]
    assert pool.take() is None
    assert pool.write(places[0], filled(1))
    assert pool.write(places[1], filled(2))
    first, part = pool.read(places[0]), pool.read(places[1])[0]
    assert (first == 1).all()
    assert (part == 2).all()
    del first
    assert pool.take() == places[0]
    pool.write(places[0], filled(3))
    assert (part == 2).all()  # a part holds the whole place
    assert pool.take() is None
    del part
    assert pool.take() == places[1]


def test_pixels_of_another_shape_take_no_place():
    pool = PixelPool(1, SHAPE)
    assert not pool.write(pool.take(), np.zeros((3, 4, 4), np.uint8))
    pool.give_back(0)
    assert pool.take() == 0


def test_what_a_child_writes_is_read_here():
    pool = PixelPool(1, SHAPE)
    place = pool.take()
    child = os.fork()
    if not child:
        pool.write(place, filled(7))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (pool.read(place) == 7).all()


@pytest.mark.parametrize("places", [0, 3, 4096])
def test_samples_keep_their_pixels_however_few_places_there_are(tmp_path, monkeypatch, places):
    monkeypatch.setattr(pixel_pool, "_MOST_PLACES", places)
    save_photos(tmp_path, 30, size=(40, 30))
    (tmp_path / "photo-0003.png").write_bytes(b"broken")
    refs = discover(tmp_path).refs
    spec = SPEC.__class__(**vars(SPEC) | {"input_size": load_sample(refs[0], SPEC).pixels.shape[1:]})
    with PhotoLoader(spec, num_workers=2) as loader:
        for _ in range(3):
            samples = [sample for batch in loader.batches(refs, 8, lambda: False) for sample in batch.samples]
            assert len(samples) == 29
            for sample in samples:
                np.testing.assert_array_equal(sample.pixels, load_sample(sample.ref, SPEC).pixels)
            del sample, samples
            gc.collect()
        assert len(loader._files._pool._free) == places


def test_memory_that_can_not_be_reserved_is_done_without(monkeypatch):
    def no_memory(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(pixel_pool.mmap, "mmap", no_memory)
    assert PixelPool(4, SHAPE).take() is None
