"""The windows of a split: cut from the stored photos whenever they are read, in each epoch elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np

from pipeline.photos.limits import MAX_PIXELS
from pipeline.photos.load_photo import LoadSpec, model_pixels
from pipeline.records import Box, PixelBox, Pixels
from pipeline.training.windows.draw import draw_around, draw_clear, shift, touches_any
from pipeline.training.windows.photo_store import PhotoStore
from pipeline.training.windows.plan import PhotoWindow

_MOST_HARD = 0.5  # of the windows without a defect
_SHIFT = 1 / 8  # of a side, that a hard window moves at most


@dataclass(frozen=True)
class WindowCache:
    """The pixels of windows, as `PixelCache` gives those of photos.

    Attributes:
        store: the photos.
        boxes: of each photo, clipped to it.
        windows: all of the split.
        processor: to the model's input.
        side: of a window in pixels.
        seed: of the draws.
        hard: windows without a defect that the starting model takes for one, with their photo's name.
        unreadable: names of photos without pixels, and the reasons.
    """

    store: PhotoStore
    boxes: dict[str, tuple[Box, ...]]
    windows: Sequence[PhotoWindow]
    processor: Any
    side: int
    seed: int
    hard: Sequence[tuple[str, PixelBox]]
    unreadable: dict[str, str]

    def read(self, index: int, epoch: int = 0) -> Pixels:
        """Cut the window drawn for an epoch, and resize it to the processor's size S: (3, S, S)."""
        window = self.windows[index]
        rng = np.random.default_rng([self.seed, epoch, crc32(window.name.encode(errors="surrogateescape"))])
        name, box = self._draw(window, rng)
        spec = LoadSpec(self.processor, draft_shorter_side=None, overlay_size=None, max_pixels=MAX_PIXELS)
        return model_pixels(self.store.cut(name, box), spec)

    def _draw(self, window: PhotoWindow, rng: np.random.Generator) -> tuple[str, PixelBox]:
        name = window.photo.name
        boxes, size = self.boxes[name], self.store.photos[name].size
        if window.box is not None:
            return name, draw_around(window.box, boxes, size, self.side, rng)
        if self.hard and rng.random() < self._hard_share:
            return self._draw_hard(rng)
        clear = draw_clear(boxes, size, self.side, rng)
        # the photo had a place for such a window before, so more tries find one
        while clear is None:
            clear = draw_clear(boxes, size, self.side, rng)
        return name, clear

    @cached_property
    def _hard_share(self) -> float:
        """The share of hard ones among the windows without a defect: each about once an epoch, up to a half of all."""
        clear = sum(window.box is None for window in self.windows)
        return min(_MOST_HARD, len(self.hard) / clear)

    def _draw_hard(self, rng: np.random.Generator) -> tuple[str, PixelBox]:
        name, window = self.hard[int(rng.integers(len(self.hard)))]
        moved = shift(window, round(_SHIFT * self.side), self.store.photos[name].size, rng)
        return name, window if touches_any(moved, self.boxes[name]) else moved


def fit_boxes(store: PhotoStore, window: PhotoWindow) -> tuple[Box, ...] | str:
    """Clip the boxes of a photo to its pixels, or return what is wrong with one."""
    photo = store.photos[window.photo.name]
    clipped: list[Box] = []
    for box in window.photo.boxes or ():
        inside = box.clip(photo.size)
        if inside is None:
            corners = ", ".join(f"{corner:g}" for corner in box.box)
            return f"its box {corners} holds no pixel of its {photo.width} x {photo.height}; boxes are in pixels"
        clipped.append(inside.box)
    return tuple(clipped)
