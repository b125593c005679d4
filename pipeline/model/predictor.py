"""Decoded photos -> predictions, in batches small enough for the device."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch

from pipeline.errors import VitrolloutError
from pipeline.maps.passes import MapPlan
from pipeline.model.classifier import Classifier
from pipeline.model.cpu_streams import CpuStreams, split_over_cores
from pipeline.model.targets import Targets
from pipeline.model.transfer import stack_pixels
from pipeline.records import Batch, Output, Pixels, Prediction, Sample, concatenate_outputs

log = logging.getLogger(__name__)

_CPU_BATCH = 8  # larger ones are no faster on a CPU, and only need more memory
_LARGEST_BATCH = 256
_WORTH_DOUBLING = 1.05
_OUT_OF_MEMORY = (  # CUDA has a class for it; MPS and the CPU only have a message
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "could not create a primitive",  # oneDNN, without memory for its scratchpad
    "STATUS_ALLOC_FAILED",
)
_NO_OUTPUT = Output(np.empty((0, 0), np.float32), {})
Change = Callable[[Pixels], Pixels]
PendingPredictions = Callable[[], list[Prediction]]


def keep_pixels(pixels: Pixels) -> Pixels:
    """Return the pixels as they are."""
    return pixels


class Predictor:
    """Runs batches through a classifier; out of memory on the device, it halves them and goes on.

    Attributes:
        batch_size: photos in one forward pass, at most.
    """

    def __init__(
        self, classifier: Classifier | CpuStreams, plan: MapPlan, batch_size: int, targets: Targets | None = None
    ) -> None:
        """Set the model up.

        Args:
            classifier: the model.
            plan: the maps to compute.
            batch_size: photos in one forward pass.
            targets: labels to explain; each photo's most likely one by default.
        """
        self.batch_size = batch_size
        self._classifier = classifier
        self._device = classifier.network.device
        self._batches_ahead = 1 if self._device.type == "cpu" else 2
        self._plan = plan
        self._targets = targets or Targets()

    @property
    def photos_a_batch(self) -> int:
        """Photos to load together."""
        return self.batch_size

    def predict_ahead(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, PendingPredictions]]:
        """Yield every batch with a function that waits for its output.

        The device works on later batches during the caller's work. A fast one has a further batch in its queue, so that
        it need not wait for the host between two.
        """
        waiting: deque[tuple[Batch, Future[PendingPredictions]]] = deque()
        thread = ThreadPoolExecutor(1)
        try:
            for batch in batches:
                waiting.append((batch, thread.submit(self.launch_photos, batch.samples)))
                if len(waiting) > self._batches_ahead:
                    yield _with_output(*waiting.popleft())
            while waiting:
                yield _with_output(*waiting.popleft())
        finally:
            thread.shutdown(cancel_futures=True)

    def predict(self, pixels: Sequence[Pixels], targets: Sequence[int] | None = None) -> Output:
        """Classify images and compute their maps; arguments and errors as of `launch`."""
        return self.launch(pixels, targets)()

    def launch(self, pixels: Sequence[Pixels], targets: Sequence[int] | None = None) -> Callable[[], Output]:
        """Begin to classify images and to compute their maps; return a function that waits for the output.

        Args:
            pixels: n of (3, H, W).
            targets: n ids of the labels to explain; None: the most likely label of each image.

        Raises:
            VitrolloutError: a single image does not fit in the device's memory.
        """
        parts: list[Callable[[], Output]] = []
        done = 0
        while done < len(pixels):
            part = slice(done, done + self.batch_size)
            out_of_memory = False
            try:
                stacked = stack_pixels(pixels[part], self._device)
                parts.append(self._classifier.launch(stacked, self._plan, None if targets is None else targets[part]))
            except RuntimeError as error:
                out_of_memory = is_out_of_memory(error)
                if not out_of_memory:
                    raise
            if out_of_memory:  # only here, after the handler: the error holds on to the tensors of the failed pass
                self._halve_batch(len(pixels[part]))
            else:
                done += len(pixels[part])
        return lambda: concatenate_outputs([part() for part in parts]) if parts else _NO_OUTPUT

    def predict_photos(self, samples: Sequence[Sample], change: Change = keep_pixels) -> list[Prediction]:
        """Classify photos and compute their maps; arguments and errors as of `launch_photos`."""
        return self.launch_photos(samples, change)()

    def launch_photos(self, samples: Sequence[Sample], change: Change = keep_pixels) -> PendingPredictions:
        """Begin to classify photos and to compute their maps; return a function that waits for the predictions.

        Args:
            samples: the photos.
            change: turns the model's input, (3, H, W), into another one.

        Raises:
            VitrolloutError: a single image does not fit in the device's memory.
        """
        output = self.launch([change(sample.pixels) for sample in samples], self._targets_of(samples))
        return lambda: split_by_photo(samples, output())

    def _targets_of(self, samples: Sequence[Sample]) -> list[int] | None:
        targets = [target for sample in samples if (target := self._targets.label_for(sample.ref.path)) is not None]
        return targets or None

    def _halve_batch(self, photos: int) -> None:
        if photos == 1:
            raise VitrolloutError(
                "the device has not enough memory for one photo; use --device cpu, a smaller --input-size or model"
            )
        self.batch_size = (photos + 1) // 2
        torch.cuda.empty_cache()
        log.warning("out of memory on the device: going on with batches of %d", self.batch_size)


def build_predictor(
    classifier: Classifier, plan: MapPlan, batch_size: Literal["auto"] | int, targets: Targets | None = None
) -> Predictor:
    """Build a predictor on all cores of a CPU, or on a device, with the batch size of the settings."""
    size = find_batch_size(classifier, plan) if batch_size == "auto" else batch_size
    return Predictor(split_over_cores(classifier, size), plan, size, targets)


def _with_output(batch: Batch, launched: Future[PendingPredictions]) -> tuple[Batch, PendingPredictions]:
    return batch, lambda: launched.result()()


def split_by_photo(samples: Sequence[Sample], output: Output) -> list[Prediction]:
    """Split the output of a batch into predictions; the first method's map is the main one."""
    main_method, targets = next(iter(output.maps), None), output.targets or (None,) * len(samples)
    return [
        Prediction(
            sample,
            output.logits[index],
            output.maps[main_method][index] if main_method else np.empty((0, 0), np.float32),
            {method: maps[index] for method, maps in output.maps.items() if method != main_method},
            targets[index],
            None if output.features is None else output.features[index],
        )
        for index, sample in enumerate(samples)
    ]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error of torch means a lack of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def is_device_lost(error: RuntimeError) -> bool:
    """Tell whether an error of torch means a device out of order, which answers no further call of this process."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


def find_batch_size(classifier: Classifier, plan: MapPlan) -> int:
    """Find the batch size for `auto`: fixed on a CPU; on an accelerator doubled as long as speed and memory allow."""
    if classifier.network.device.type == "cpu":
        return _CPU_BATCH
    return fastest_batch_size(classifier, plan, _LARGEST_BATCH)


def fastest_batch_size(classifier: Classifier, plan: MapPlan, largest: int) -> int:
    """Double the batch from 8 until it gains no speed per image, or exceeds the device's memory."""
    best, best_rate, size = 1, 0.0, min(8, largest)
    while size <= largest:
        pixels = torch.zeros(size, 3, *classifier.geometry.input_size, dtype=torch.uint8)
        try:
            classifier.predict(pixels, plan)  # the first pass of a shape also sets things up
            started = time.perf_counter()
            classifier.predict(pixels, plan)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        rate = size / (time.perf_counter() - started)
        if rate < best_rate * _WORTH_DOUBLING:
            break
        best, best_rate, size = size, rate, size * 2
    return best
