"""Decoded photos -> predictions, in batches that fit the device."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from pipeline.errors import VitrolloutError
from pipeline.maps.passes import MapPlan
from pipeline.model.classifier import Classifier
from pipeline.model.cpu_streams import CpuStreams
from pipeline.model.targets import Targets
from pipeline.records import Batch, Output, Pixels, Prediction, Sample, concatenate_outputs

log = logging.getLogger(__name__)

_CPU_BATCH = 8  # larger ones are no faster on a CPU, and only need more memory
_LARGEST_BATCH = 256
_WORTH_DOUBLING = 1.05


class Predictor:
    """Runs batches through a classifier; out of memory on the device, it halves them and goes on."""

    def __init__(
        self, classifier: Classifier | CpuStreams, maps: MapPlan, batch_size: int, targets: Targets | None = None
    ) -> None:
        """Args: the model, how to compute maps, how many photos at once, and which labels maps explain."""
        self._classifier = classifier
        self._maps = maps
        self._most = batch_size
        self._targets = targets or Targets()

    def predict_ahead(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Future[list[Prediction]]]]:
        """Every batch with its predictions to come: while one is written down, the device is at the next."""
        waiting: deque[tuple[Batch, Future[list[Prediction]]]] = deque()
        thread = ThreadPoolExecutor(1)
        try:
            for batch in batches:
                waiting.append((batch, thread.submit(self.predict, batch.samples)))
                if len(waiting) == 2:
                    yield waiting.popleft()
            yield from waiting
        finally:
            thread.shutdown(cancel_futures=True)

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Classify photos.

        Raises:
            VitrolloutError: not even one photo fits in the device's memory.
        """
        if not samples:
            return []
        targets = [target for sample in samples if (target := self._targets.label_for(sample.ref.path)) is not None]
        return _split(samples, self.outputs(np.stack([sample.pixels for sample in samples]), targets or None))

    def outputs(self, pixels: Pixels, targets: Sequence[int] | None = None) -> Output:
        """Classify inputs, whatever they are of.

        Args:
            pixels: (n, 3, H, W), at least one.
            targets: n ids of the labels to explain; None: of each the most likely one.

        Raises:
            VitrolloutError: not even one fits in the device's memory.
        """
        parts: list[Output] = []
        done = 0
        while done < len(pixels):
            part = slice(done, done + self._most)
            output = self._attempt(pixels[part], None if targets is None else targets[part])
            if output is None:
                self._halve(len(pixels[part]))
            else:
                parts.append(output)
                done += len(output.logits)
        return concatenate_outputs(parts)

    def _attempt(self, pixels: Pixels, targets: Sequence[int] | None) -> Output | None:
        """None: out of memory. The error ends here, for it holds on to the tensors of the failed pass."""
        try:
            return self._classifier.predict(torch.from_numpy(pixels), self._maps, targets)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _halve(self, photos: int) -> None:
        if photos == 1:
            raise VitrolloutError(
                "the device has not enough memory for one photo; use --device cpu, a smaller --input-size or model"
            )
        self._most = (photos + 1) // 2
        torch.cuda.empty_cache()
        log.warning("out of memory on the device: going on with batches of %d", self._most)


def _split(samples: Sequence[Sample], output: Output) -> list[Prediction]:
    """A batch's output by photo."""
    first, targets = next(iter(output.maps)), output.targets or (None,) * len(samples)
    return [
        Prediction(
            sample,
            output.logits[place],
            output.maps[first][place],
            {method: maps[place] for method, maps in output.maps.items() if method != first},
            targets[place],
        )
        for place, sample in enumerate(samples)
    ]


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a class for it; MPS and the CPU only have a message."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error)
        for words in (
            "out of memory",
            "can't allocate memory",
            "not enough memory",
            "could not create a primitive",  # oneDNN, for want of its scratchpad
            "STATUS_ALLOC_FAILED",
        )
    )


def find_batch_size(classifier: Classifier, maps: MapPlan) -> int:
    """The batch size for `auto`: on an accelerator it is doubled while that gains speed and fits in memory."""
    if classifier.network.device.type == "cpu":
        return _CPU_BATCH
    return fastest_batch_size(classifier, maps, _LARGEST_BATCH)


def fastest_batch_size(classifier: Classifier, maps: MapPlan, largest: int) -> int:
    """Double the batch from 8 until it is no faster an image, or too large for the device."""
    best, best_rate, size = 1, 0.0, min(8, largest)
    while size <= largest:
        pixels = torch.zeros(size, 3, *classifier.geometry.input_size, dtype=torch.uint8)
        try:
            classifier.predict(pixels, maps)  # the first one of a shape also sets things up
            started = time.perf_counter()
            classifier.predict(pixels, maps)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        rate = size / (time.perf_counter() - started)
        if rate < best_rate * _WORTH_DOUBLING:
            break
        best, best_rate, size = size, rate, size * 2
    return best
