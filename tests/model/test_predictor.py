"""Photos -> predictions in batches that fit the device, and the size of such a batch."""

import logging
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pipeline.model.predictor
from pipeline.errors import VitrolloutError
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.model.predictor import (
    Predictor,
    fastest_batch_size,
    find_batch_size,
    is_out_of_memory,
)
from pipeline.model.targets import Targets
from pipeline.records import Batch, ImageRef, Prediction, Sample

MAPS = MapPlan(discard_ratio=0.3)


@pytest.fixture(scope="module")
def classifier(tiny_checkpoint):
    return load_classifier(
        resolve_checkpoint(str(tiny_checkpoint("vit"))), device=torch.device("cpu"), precision="fp32"
    )


class Cramped:
    """A classifier on a device that holds so many photos at once, and that notes the batches it is given."""

    def __init__(self, classifier, room, error=None):
        self.network, self.geometry = classifier.network, classifier.geometry
        self.classifier, self.room, self.error = classifier, room, error or torch.OutOfMemoryError("CUDA is full")
        self.batches = []
        self.held = lambda: None  # what the last failed pass has allocated

    def launch(self, pixels, maps, targets=None):
        assert self.held() is None, "the failed pass still holds its tensors"
        self.batches.append(len(pixels))
        if len(pixels) > self.room:
            activations = torch.zeros(8)
            self.held = weakref.ref(activations)
            raise type(self.error)(*self.error.args)  # a new one: it holds its traceback
        return self.classifier.launch(pixels, maps, targets)

    def predict(self, pixels, maps):
        return self.launch(pixels, maps)()


def make_samples(count):
    random = np.random.default_rng(0)
    return [
        Sample(
            ref=ImageRef(f"{index}.png", None, f"/photos/{index}.png", 1, 1),
            content_hash="00",
            width=48,
            height=48,
            note=None,
            pixels=random.integers(0, 256, (3, 48, 48), dtype=np.uint8),
            photo=None,
        )
        for index in range(count)
    ]


def assert_same(predictions, expected):
    assert [prediction.sample for prediction in predictions] == [prediction.sample for prediction in expected]
    for one, other in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5, rtol=0)
        np.testing.assert_allclose(one.attention, other.attention, atol=1e-6, rtol=0)


@pytest.fixture
def warned(caplog):
    """The warnings since then."""
    caplog.set_level(logging.WARNING, logger="pipeline.model.predictor")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_each_prediction_belongs_to_its_sample_whatever_the_batch(classifier, batch_size):
    samples = make_samples(8)
    predictions = Predictor(classifier, MAPS, batch_size).predict_photos(samples)
    assert [prediction.sample for prediction in predictions] == samples
    for sample, prediction in zip(samples, predictions, strict=True):
        alone = classifier.predict(torch.from_numpy(sample.pixels)[None], MAPS)
        np.testing.assert_allclose(prediction.logits, alone.logits[0], atol=1e-5, rtol=0)
        np.testing.assert_allclose(prediction.attention, alone.maps["rollout"][0], atol=1e-6, rtol=0)
        assert prediction.logits.shape == (7,)
        assert prediction.attention.shape == (6, 6)


def test_no_more_photos_at_once_than_asked_for(classifier):
    cramped = Cramped(classifier, room=99)
    Predictor(cramped, MAPS, 3).predict_photos(make_samples(8))
    assert cramped.batches == [3, 3, 2]


def test_nothing_to_predict(classifier):
    assert Predictor(classifier, MAPS, 3).predict_photos([]) == []


def test_out_of_memory_halves_the_batch_once_and_says_so(classifier, warned):
    samples = make_samples(8)
    expected = Predictor(classifier, MAPS, 8).predict_photos(samples)
    cramped = Cramped(classifier, room=4)
    predictor = Predictor(cramped, MAPS, 8)
    assert_same(predictor.predict_photos(samples), expected)
    assert cramped.batches == [8, 4, 4]
    assert warned() == ["out of memory on the device: going on with batches of 4"]
    assert_same(predictor.predict_photos(samples), expected)  # it remembers
    assert cramped.batches[3:] == [4, 4]
    assert len(warned()) == 1


def test_it_is_halved_until_it_fits(classifier, warned):
    samples = make_samples(8)
    cramped = Cramped(classifier, room=1)
    assert_same(
        Predictor(cramped, MAPS, 8).predict_photos(samples), Predictor(classifier, MAPS, 8).predict_photos(samples)
    )
    assert cramped.batches == [8, 4, 2] + [1] * 8
    assert len(warned()) == 3


def test_out_of_memory_in_the_middle_of_a_batch_repeats_and_skips_no_photo(classifier):
    samples = make_samples(7)
    cramped = Cramped(classifier, room=4)
    predictor = Predictor(cramped, MAPS, 4)
    predictor.predict_photos(samples[:4])
    cramped.room = 2  # another program has taken memory since
    assert_same(predictor.predict_photos(samples), Predictor(classifier, MAPS, 8).predict_photos(samples))
    assert cramped.batches == [4, 4, 2, 2, 2, 1]


def test_a_batch_of_few_photos_that_does_not_fit_is_halved_itself(classifier, warned):
    cramped = Cramped(classifier, room=2)
    Predictor(cramped, MAPS, 256).predict_photos(make_samples(3))
    assert cramped.batches == [3, 2, 1]
    assert len(warned()) == 1


def test_one_photo_too_many_ends_the_run_with_what_to_do(classifier):
    with pytest.raises(VitrolloutError, match="not enough memory for one photo; use --device cpu") as caught:
        Predictor(Cramped(classifier, room=0), MAPS, 8).predict_photos(make_samples(2))
    assert caught.value.exit_code == 1


def test_each_photo_keeps_its_own_target_when_the_batch_is_halved(classifier):
    samples, maps = make_samples(5), MapPlan(("libragrad", "rollout"))
    targets = Targets(expected={sample.ref.path: place for place, sample in enumerate(samples)})
    halved = Predictor(Cramped(classifier, room=2), maps, 5, targets).predict_photos(samples)
    for place, prediction in enumerate(halved):
        assert prediction.target == place
        alone = classifier.predict(torch.from_numpy(samples[place].pixels)[None], maps, [place])
        np.testing.assert_allclose(prediction.attention, alone.maps["libragrad"][0], atol=1e-5, rtol=0)
        assert list(prediction.more_maps) == ["rollout"]
        np.testing.assert_allclose(prediction.more_maps["rollout"], alone.maps["rollout"][0], atol=1e-6, rtol=0)


def test_a_further_map_that_is_not_finite_fails_too():
    fine, broken = np.zeros((2, 2), np.float32), np.full((2, 2), np.nan, np.float32)
    assert Prediction(make_samples(1)[0], np.zeros(3, np.float32), fine, {"legrad": fine}).failure is None
    assert Prediction(make_samples(1)[0], np.zeros(3, np.float32), fine, {"legrad": broken}).failure is not None


def test_the_last_photo_alone_that_does_not_fit_is_not_tried_again(classifier):
    cramped = Cramped(classifier, room=0)
    with pytest.raises(VitrolloutError):
        Predictor(cramped, MAPS, 8).predict_photos(make_samples(1))
    assert cramped.batches == [1]


def test_the_cache_is_emptied_once_the_failed_pass_is_gone(classifier, monkeypatch):
    cramped = Cramped(classifier, room=2)
    held = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: held.append(cramped.held()))
    Predictor(cramped, MAPS, 4).predict_photos(make_samples(4))
    assert held == [None]


def test_other_errors_are_not_taken_for_a_lack_of_memory(classifier):
    broken = Cramped(classifier, room=0, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        Predictor(broken, MAPS, 8).predict_photos(make_samples(2))
    assert broken.batches == [2]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1024 bytes."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("captured 0 layers of shapes []"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_real_allocation_failures_are_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


class Paced:
    """A classifier whose passes take this long by a clock of its own."""

    def __init__(self, classifier, seconds, room=10**6):
        self.network, self.geometry, self.seconds, self.room = classifier.network, classifier.geometry, seconds, room
        self.now, self.batches = 0.0, []

    def predict(self, pixels, maps):
        assert pixels.shape[1:] == (3, 48, 48)
        assert pixels.dtype == torch.uint8
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError
        self.now += self.seconds(len(pixels))
        self.batches.append(len(pixels))


@pytest.fixture
def fastest(classifier, monkeypatch):
    def choose(seconds, largest=256, **options):
        paced = Paced(classifier, seconds, **options)
        monkeypatch.setattr(pipeline.model.predictor.time, "perf_counter", lambda: paced.now)
        return fastest_batch_size(paced, MAPS, largest), paced.batches

    return choose


def test_the_batch_is_doubled_while_that_gains_speed(fastest):
    best, tried = fastest(lambda photos: 1 + photos / 32)
    assert best == 256 == tried[-1]
    best, tried = fastest(lambda photos: 0.1 + photos / 10)  # 8 photos: 8.9 a second, 16: 9.4, 32: 9.7
    assert best == 16
    assert tried == [8, 8, 16, 16, 32, 32]


def test_no_batch_is_tried_that_is_larger_than_allowed(fastest):
    assert fastest(lambda photos: 1, largest=32) == (32, [8, 8, 16, 16, 32, 32])
    assert fastest(lambda photos: 1, largest=5) == (5, [5, 5])


def test_the_largest_batch_that_fits_is_taken(fastest):
    assert fastest(lambda photos: 1, room=20) == (16, [8, 8, 16, 16])
    assert fastest(lambda photos: 1, room=3) == (1, [])


def test_the_first_pass_of_a_size_does_not_count(fastest):
    passes = []

    def slow_at_first(photos):
        passes.append(photos)
        return 100 if passes.count(photos) == 1 else 1

    assert fastest(slow_at_first)[0] == 256


def test_other_errors_end_the_search(classifier):
    with pytest.raises(RuntimeError, match="broken"):
        fastest_batch_size(Cramped(classifier, room=0, error=RuntimeError("broken")), MAPS, 16)


def test_a_size_is_found_on_a_real_model(classifier):
    assert fastest_batch_size(classifier, MAPS, 16) in (8, 16)


def test_a_cpu_gets_a_small_batch_without_a_trial(classifier):
    cramped = Cramped(classifier, room=0)
    assert find_batch_size(cramped, MAPS) == 8
    assert cramped.batches == []


class Watched:
    """A classifier that says when its second pass has begun, and that fails at its third."""

    def __init__(self, classifier):
        self.network, self.geometry, self.classifier = classifier.network, classifier.geometry, classifier
        self.passes, self.at_the_second = 0, threading.Event()

    def launch(self, pixels, maps, targets=None):
        self.passes += 1
        if self.passes == 2:
            self.at_the_second.set()
        if self.passes == 3:
            raise RuntimeError("the cable is out")
        return self.classifier.launch(pixels, maps, targets)


def test_device_is_at_the_next_batch_while_one_is_written_down(classifier):
    samples = make_samples(6)
    batches = [Batch(tuple(samples[start : start + 2]), ()) for start in (0, 2, 4)]
    watched = Watched(classifier)
    ahead = Predictor(watched, MAPS, batch_size=2).predict_ahead(iter(batches))
    batch, predicted = next(ahead)
    assert batch is batches[0]
    assert_same(
        predicted(),
        Predictor(classifier, MAPS, batch_size=2).predict_photos(batch.samples),
    )
    assert watched.at_the_second.wait(60), "nothing is computed until the first batch is done with"
    batch, predicted = next(ahead)
    assert batch is batches[1]
    assert len(predicted()) == 2
    batch, predicted = next(ahead)
    with pytest.raises(RuntimeError, match="the cable is out"):
        predicted()
    assert next(ahead, None) is None


def test_device_goes_no_further_than_the_next_batch_when_nobody_takes_more(classifier):
    watched = Watched(classifier)
    batches = [Batch(tuple(make_samples(2)), ())] * 9
    ahead = Predictor(watched, MAPS, batch_size=2).predict_ahead(iter(batches))
    next(ahead)
    ahead.close()
    assert watched.passes <= 2


class Queue:
    """A device that computes while the host goes on; it notes what the host does."""

    def __init__(self, classifier):
        self.network = SimpleNamespace(device=torch.device("meta"))
        self.classifier, self.events, self.launched = classifier, [], threading.Semaphore(0)

    def launch(self, pixels, maps, targets=None):
        number = sum(event.startswith("launch") for event in self.events)
        self.events.append(f"launch {number}")
        self.launched.release()
        output = self.classifier.launch(pixels, maps, targets)

        def wait():
            self.events.append(f"wait {number}")
            return output()

        return wait


def test_a_device_has_a_batch_in_its_queue_when_the_host_waits_for_the_one_before(classifier):
    samples = make_samples(10)
    batches = [Batch(tuple(samples[start : start + 2]), ()) for start in range(0, 10, 2)]
    queue, found, taken = Queue(classifier), [], []

    def take():
        for number, batch in enumerate(batches):
            taken.append(number)
            yield batch

    for number, (_, predicted) in enumerate(Predictor(queue, MAPS, batch_size=2).predict_ahead(take())):
        assert len(taken) == min(number + 3, 5), "the batch itself and two behind it, and no more"
        for _ in range((3, 1, 1, 0, 0)[number]):
            assert queue.launched.acquire(timeout=60)
        found += predicted()
    assert_same(found, Predictor(classifier, MAPS, batch_size=2).predict_photos(samples))
    assert [event for event in queue.events if event.startswith("wait")] == [f"wait {number}" for number in range(5)]
    for number in range(3):
        assert queue.events.index(f"launch {number + 2}") < queue.events.index(f"wait {number}")
