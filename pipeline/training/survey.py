"""A look at some photos of a data set before its training: their sizes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.errors import StoppedError
from pipeline.labelled.read import labelled_ref
from pipeline.labelled.splits import LabelledPhoto
from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.load_photo import LoadSpec
from pipeline.photos.loader import PhotoLoader

_SURVEYED = 64
_BATCH = 16


def survey_sizes(photos: Sequence[LabelledPhoto], processor: Any, stop: Callable[[], bool]) -> list[tuple[int, int]]:
    """Return (width, height) in upright pixels of some photos, spread over the list; unreadable ones are left out.

    Raises:
        StoppedError: `stop()` returned true.
    """
    chosen = np.unique(np.linspace(0, len(photos) - 1, _SURVEYED).round().astype(int))
    spec = LoadSpec(processor, draft_shorter_side=1, overlay_size=None, max_pixels=MAX_PIXELS)
    with PhotoLoader(spec) as loader:
        batches = loader.batches([labelled_ref(photos[index]) for index in chosen], _BATCH, stop)
        sizes = [(sample.width, sample.height) for batch in batches for sample in batch.samples]
    if stop():
        raise StoppedError("stopped before the training; run the same command again to go on")
    return sizes
