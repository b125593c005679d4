"""A batch that is taken apart among streams comes back as it would have in one piece."""

import platform
import subprocess
import sys
import threading
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.maps.methods import ATTENTION_METHODS, GRADIENT_METHODS
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.cpu_streams import CpuStreams, split_over_cores
from pipeline.model.load import load_classifier


@pytest.fixture(scope="module")
def classifier(tiny_checkpoint):
    return load_classifier(resolve_checkpoint(str(tiny_checkpoint("dinov2"))), device="cpu", precision="fp32")


@pytest.fixture
def pixels(classifier):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (7, 3, *classifier.geometry.input_size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("count", [2, 3, 7, 8])
def test_every_map_of_every_photo_is_the_classifiers_own(classifier, pixels, count):
    maps = MapPlan((*ATTENTION_METHODS, *GRADIENT_METHODS))
    targets = [number % len(classifier.labels) for number in range(len(pixels))]
    expected = classifier.predict(pixels, maps, targets)
    for _ in range(3):  # hooks that the streams shared would mix their layers up, but not always
        output = CpuStreams(classifier, count).predict(pixels, maps, targets)
        np.testing.assert_allclose(output.logits, expected.logits, rtol=1e-4, atol=1e-5)
        assert output.targets == targets
        assert output.maps.keys() == expected.maps.keys()
        for method, found in output.maps.items():
            np.testing.assert_allclose(found, expected.maps[method], rtol=1e-3, atol=1e-5)


def test_streams_share_the_weights(classifier):
    first, second = CpuStreams(classifier, 2)._classifiers
    assert first is classifier
    ours, theirs = dict(first.network.named_parameters()), dict(second.network.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(theirs[name] is weight for name, weight in ours.items())
    assert second.encoder is not first.encoder
    assert any(module is second.encoder for module in second.network.modules())


def test_each_stream_has_its_share_of_the_cores_and_the_caller_keeps_all(classifier, pixels, monkeypatch):
    seen = []
    predict = type(classifier).predict

    def watched(self, *arguments):
        seen.append(torch.get_num_threads())
        return predict(self, *arguments)

    monkeypatch.setattr(type(classifier), "predict", watched)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        CpuStreams(classifier, 2).predict(pixels, MapPlan())
        assert seen == [2, 2, 2, 2]  # two parts for each
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)


def test_a_stream_held_up_leaves_its_parts_to_the_others(classifier, pixels, monkeypatch):
    predict, done = type(classifier).predict, threading.Event()
    counts = Counter()

    def watched(stream, some, *more):
        first = not counts[stream is classifier]
        counts[stream is classifier] += len(some)
        if stream is classifier and first:
            done.wait()  # until the other one has taken the rest
        found = predict(stream, some, *more)
        if counts.total() == len(pixels):
            done.set()
        return found

    expected = classifier.predict(pixels, MapPlan())
    monkeypatch.setattr(type(classifier), "predict", watched)
    output = CpuStreams(classifier, 2).predict(pixels, MapPlan())
    assert counts[True] < counts[False]
    np.testing.assert_allclose(output.logits, expected.logits, rtol=1e-3, atol=1e-4)


def test_an_error_of_one_stream_is_raised(classifier, pixels):
    with pytest.raises(RuntimeError):
        CpuStreams(classifier, 2).predict(pixels[:, :2], MapPlan())


def test_an_error_of_one_stream_waits_for_the_others(classifier, pixels, monkeypatch):
    """So that what comes next, a smaller batch say, has all of the memory, and the modules to itself."""
    predict, began, running = type(classifier).predict, threading.Event(), []

    def watched(stream, some, *more):
        if stream is classifier:
            began.wait()
            raise RuntimeError("can't allocate memory")
        running.append(stream)
        began.set()
        found = [predict(stream, some, *more) for _ in range(20)]  # at work for longer than an error takes
        running.remove(stream)
        return found[0]

    monkeypatch.setattr(type(classifier), "predict", watched)
    with pytest.raises(RuntimeError, match="allocate"):
        CpuStreams(classifier, 2).predict(pixels, MapPlan())
    assert not running


FAULTS_OF_A_LAYER = """
import resource, torch
from types import SimpleNamespace
from pipeline.model.cpu_streams import CpuStreams

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.ones(2**22) for _ in range(8)]  # 128 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

CpuStreams(SimpleNamespace(), 1)
print(faults(), faults() + faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_what_one_layer_frees_is_there_for_the_next():
    done = subprocess.run([sys.executable, "-c", FAULTS_OF_A_LAYER], check=True, capture_output=True, text=True)
    first, next_two = map(int, done.stdout.split())
    assert next_two < first / 2  # without: twice the first


@pytest.mark.parametrize(("threads", "batch_size", "count"), [(1, 8, 1), (2, 8, 2), (16, 8, 4), (2, 3, 1)])
def test_as_many_streams_as_cores_but_two_photos_each(classifier, threads, batch_size, count, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = split_over_cores(classifier, batch_size)
    assert (len(found._classifiers) if isinstance(found, CpuStreams) else 1) == count


def test_an_accelerator_gets_whole_batches():
    on_device = SimpleNamespace(network=SimpleNamespace(device=torch.device("cuda")))
    assert split_over_cores(on_device, 64) is on_device
