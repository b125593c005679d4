"""A model on a CPU as several streams with cores of their own, which take parts of the batch one by one.

The threads of one operation wait for one another at its end, some hundred times a batch; with photos decoded and
drawn on the same cores, they all wait for the one thread that lost its core. Streams meet once a batch.
"""

import copy
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pipeline.freed_memory import keep_freed_memory
from pipeline.maps.passes import MapPlan
from pipeline.model.classifier import Classifier
from pipeline.records import Output, concatenate_outputs

_PHOTOS_PER_STREAM = 2  # at least, in a batch of the usual size
_PHOTOS_A_PART, _PARTS_A_STREAM = 2, 2  # at least and at most: a core with other work takes fewer parts


class CpuStreams:
    """A classifier on several cores. Predicts as a single classifier does."""

    def __init__(self, classifier: Classifier, count: int) -> None:
        """Copy the classifier's modules.

        Args:
            classifier: the model; its weights are shared by all copies.
            count: number of streams.
        """
        keep_freed_memory()
        self._threads = torch.get_num_threads()
        self._classifiers = [classifier, *(_copy_modules(classifier) for _ in range(count - 1))]
        threads_per_stream = max(1, self._threads // count)
        self._pool = ThreadPoolExecutor(
            count, "stream", initializer=torch.set_num_threads, initargs=(threads_per_stream,)
        )

    @property
    def network(self) -> Any:
        """The network of the classifier."""
        return self._classifiers[0].network

    def launch(
        self, pixels: Tensor, plan: MapPlan, targets: Sequence[int] | None = None
    ) -> Callable[[], Output]:  # fmt: skip
        """Classify a batch and compute its maps; return a function that returns the output, as `Classifier.launch`."""
        output = self.predict(pixels, plan, targets)
        return lambda: output

    def predict(self, pixels: Tensor, plan: MapPlan, targets: Sequence[int] | None = None) -> Output:
        """Classify a batch and compute its maps, as `Classifier.predict`."""
        count = len(self._classifiers)
        if len(pixels) < count:
            return self._classifiers[0].predict(pixels, plan, targets)
        size = max(_PHOTOS_A_PART, -(-len(pixels) // (_PARTS_A_STREAM * count)))
        parts = [slice(start, start + size) for start in range(0, len(pixels), size)]
        outputs: list[Output | None] = [None] * len(parts)
        waiting = deque(enumerate(parts))

        def work(classifier: Classifier) -> None:
            while waiting:
                try:
                    number, part = waiting.popleft()
                except IndexError:  # taken by another stream meanwhile
                    return
                chosen = None if targets is None else targets[part]
                try:
                    outputs[number] = classifier.predict(pixels[part], plan, chosen)
                except Exception:
                    waiting.clear()
                    raise

        try:
            streams = [self._pool.submit(work, classifier) for classifier in self._classifiers]
            wait(streams)  # all of them: after a failure the next batch would find modules still in use
            for stream in streams:
                stream.result()
            return concatenate_outputs([output for output in outputs if output is not None])
        finally:
            torch.set_num_threads(
                self._threads
            )  # set_num_threads in a stream also sets the default of threads started later


def split_over_cores(classifier: Classifier, batch_size: int) -> Classifier | CpuStreams:
    """Put a classifier on streams if it runs on a CPU with cores for more than one."""
    count = min(torch.get_num_threads(), batch_size // _PHOTOS_PER_STREAM)
    if classifier.network.device.type != "cpu" or count < 2:
        return classifier
    return CpuStreams(classifier, count)


def _copy_modules(classifier: Classifier) -> Classifier:
    """Copy the classifier with modules, and so hooks, of its own. The weights stay shared."""
    network = classifier.network
    weights = {id(weight): weight for weight in chain(network.parameters(), network.buffers())}
    network, encoder = copy.deepcopy((network, classifier.encoder), weights)
    return replace(classifier, network=network, encoder=encoder)
