"""A model on a CPU as several streams, each with a part of the batch and cores of its own.

The threads of one operation wait for one another at its end, some hundred times a batch; where photos are decoded and
drawn on the same cores, they wait for the one that had to give way. Streams meet once a batch.
"""

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import chain, pairwise

import torch
from torch import Tensor

from pipeline.maps.passes import MapPlan
from pipeline.model.allocator import keep_freed_memory
from pipeline.model.classifier import Classifier
from pipeline.records import Output, concatenate_outputs

_PHOTOS_EACH = 2  # at least, in a batch of the usual size


class CpuStreams:
    """Predicts as a classifier does."""

    def __init__(self, classifier: Classifier, count: int) -> None:
        """Args: the classifier, and how many streams."""
        keep_freed_memory()
        self._threads = torch.get_num_threads()
        self._classifiers = [classifier, *(_twin(classifier) for _ in range(count - 1))]
        each = max(1, self._threads // count)
        self._pool = ThreadPoolExecutor(count, "stream", initializer=torch.set_num_threads, initargs=(each,))

    def predict(self, pixels: Tensor, maps: MapPlan, targets: Sequence[int] | None = None) -> Output:
        """As `Classifier.predict`."""
        first, count = self._classifiers[0], len(self._classifiers)
        if len(pixels) < count:
            return first.predict(pixels, maps, targets)
        starts = [len(pixels) * place // count for place in range(count + 1)]
        parts = [slice(*ends) for ends in pairwise(starts)]
        try:
            outputs = [
                self._pool.submit(classifier.predict, pixels[part], maps, None if targets is None else targets[part])
                for classifier, part in zip(self._classifiers, parts, strict=True)
            ]
            wait(outputs)  # all of them: after a failure another batch may come, and find the modules in use
            return concatenate_outputs([output.result() for output in outputs])
        finally:
            torch.set_num_threads(self._threads)  # a stream sets it for every thread that is yet to come as well


def split_over_cores(classifier: Classifier, batch_size: int) -> Classifier | CpuStreams:
    """The classifier on streams, where it is on a CPU with cores for more than one."""
    count = min(torch.get_num_threads(), batch_size // _PHOTOS_EACH)
    if classifier.network.device.type != "cpu" or count < 2:
        return classifier
    return CpuStreams(classifier, count)


def _twin(classifier: Classifier) -> Classifier:
    """The same classifier with modules, and so hooks, of its own. The weights are the same ones."""
    network = classifier.network
    weights = {id(weight): weight for weight in chain(network.parameters(), network.buffers())}
    network, encoder = copy.deepcopy((network, classifier.encoder), weights)
    return replace(classifier, network=network, encoder=encoder)
