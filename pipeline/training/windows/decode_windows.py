"""The windows of all splits, ready to be read: their photos decoded, their boxes checked, hard negatives found."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from pipeline.errors import DataError
from pipeline.labelled.csv_table import list_some
from pipeline.records import Box
from pipeline.training.pixel_cache import CachedSplit
from pipeline.training.windows.draw import draw_clear
from pipeline.training.windows.hard_negatives import HardNegativeSearch
from pipeline.training.windows.photo_store import PhotoStore, open_store
from pipeline.training.windows.plan import PhotoWindow, list_whole_photos
from pipeline.training.windows.window_cache import WindowCache, fit_boxes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowDecoder:
    """Makes the caches of a training on windows.

    Attributes:
        windows: of all splits.
        side: of a window in pixels.
        seed: of the draws.
        work: folder for the photos.
        stop: asked between photos.
        search: for hard negatives among the training photos; None: without.
    """

    windows: Sequence[PhotoWindow]
    side: int
    seed: int
    work: Path
    stop: Callable[[], bool]
    search: HardNegativeSearch | None

    def decode(self, processors: dict[str, Any]) -> dict[str, CachedSplit]:
        """Decode the photos of each split, or reuse those of an earlier session.

        Args:
            processors: image processor of each split.

        Raises:
            DataError: a box lies outside its photo, or a split has no readable photo.
            StoppedError: `stop()` returned true.
            StoreError: the disk is full.
        """
        return {split: self._decode_split(split, processor) for split, processor in processors.items()}

    def _decode_split(self, split: str, processor: Any) -> CachedSplit:
        windows = [window for window in self.windows if window.split == split]
        store = open_store(list_whole_photos(windows), self.work / f"{split}.photos", processor, self.stop)
        for name, reason in store.unreadable.items():
            log.warning("left out %s: %s", name, reason)
        if windows and not store.photos:
            name, reason = next(iter(store.unreadable.items()))
            raise DataError(f"split: no photo of {split!r} can be read, {name} first: {reason}; correct the files")
        boxes = _fit_all_boxes(store, windows)
        hard = []
        if split == "train" and self.search is not None:
            hard = self.search.find(store, boxes, self.work / "hard_negatives.jsonl")
        entries = [index for index, window in enumerate(windows) if self._has_place(window, store, boxes)]
        cache = WindowCache(store, boxes, windows, processor, self.side, self.seed, hard, dict(store.unreadable))
        return CachedSplit(tuple(windows[entry] for entry in entries), tuple(entries), cache)

    def _has_place(self, window: PhotoWindow, store: PhotoStore, boxes: dict[str, tuple[Box, ...]]) -> bool:
        """Tell whether a window can be drawn: a photo full of defects has no clear one."""
        name = window.photo.name
        if name in store.unreadable:
            return False
        if window.box is not None:
            return True
        rng = np.random.default_rng([self.seed, crc32(name.encode(errors="surrogateescape"))])
        return draw_clear(boxes[name], store.photos[name].size, self.side, rng) is not None


def _fit_all_boxes(store: PhotoStore, windows: Sequence[PhotoWindow]) -> dict[str, tuple[Box, ...]]:
    """Clip the boxes of all photos to their pixels.

    Raises:
        DataError: names the photos with a box outside.
    """
    photos = {window.photo.name: window for window in windows if window.photo.name in store.photos}
    fitted = {name: fit_boxes(store, window) for name, window in photos.items()}
    if wrong := [f"{name}: {problem}" for name, problem in fitted.items() if isinstance(problem, str)]:
        raise DataError(f"boxes: {list_some(wrong)}; correct them")
    boxes = {name: value for name, value in fitted.items() if not isinstance(value, str)}
    clipped = [
        name for name, window in photos.items() if boxes[name] != tuple(box.box for box in window.photo.boxes or ())
    ]
    if clipped:
        log.warning("boxes reach beyond %d photos and end at their edges: %s", len(clipped), list_some(clipped))
    return boxes
