"""Overlays and thumbnails of predictions, drawn and encoded in threads while the model works on."""

import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import numpy as np
from PIL import Image

from pipeline.maps.geometry import scale_box
from pipeline.overlays.draw import OverlayLook, draw_overlay
from pipeline.overlays.png import encode_png
from pipeline.photos.resize import downscale, fit_within
from pipeline.records import Box, Pixels, Prediction
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import overlay_name, thumbnail_name

_THUMBNAIL_SIDE = 320  # pixels, of the photo and of the overlay beside it


class OverlayWriter:
    """Draws overlays in threads. The number of photos in the queue is limited, and so is the memory."""

    def __init__(self, results: ResultsFolder, look: OverlayLook, *, threads: int, waiting: int) -> None:
        """Start without photos.

        Args:
            results: folder for the pictures.
            look: style, opacity and colours of the overlays.
            threads: number of overlays drawn at once.
            waiting: longest queue of photos; at least one for each thread.
        """
        self._results = results
        self._look = look
        self._threads = ThreadPoolExecutor(threads)
        self._queue: deque[Future[None]] = deque()
        self._longest_queue = max(threads, waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def submit(self, prediction: Prediction, box: Box) -> str | None:
        """Queue one overlay; wait for the oldest one first if the queue is full.

        Args:
            prediction: the map and its photo; without a photo nothing is drawn.
            box: the part of the photo under the map, in upright pixels of the file.

        Returns:
            Name of the overlay relative to OUT, or None.
        """
        if prediction.sample.photo is None:
            return None
        name = overlay_name(prediction.sample.ref.path)
        while len(self._queue) >= self._longest_queue:
            self._queue.popleft().result()
        self._queue.append(self._threads.submit(self._write_pictures, name, prediction, prediction.sample.photo, box))
        return name

    def flush(self) -> None:
        """Wait until every overlay is in place; raise the error of any failed one."""
        while self._queue:
            self._queue.popleft().result()

    def _write_pictures(self, name: str, prediction: Prediction, photo: Pixels, box: Box) -> None:
        """Draw and save the overlay and the thumbnail of a photo, (h, w, 3)."""
        sample, (height, width, _) = prediction.sample, photo.shape
        box = scale_box(box, (sample.width, sample.height), (width, height))
        heat = np.maximum(prediction.attention, 0)  # negative values speak against a label
        overlay = np.asarray(draw_overlay(photo, heat, box, self._look))  # (h, w, 3)
        self._results.write_picture(name, encode_png(overlay))
        self._results.write_picture(thumbnail_name(name), _encode_thumbnail(photo, overlay))


def _encode_thumbnail(photo: Pixels, overlay: Pixels) -> bytes:
    """Put the photo, left, beside its overlay, right, both scaled down to the side of a thumbnail; return a JPEG."""
    height, width, _ = photo.shape
    size = fit_within((width, height), _THUMBNAIL_SIDE)
    side_by_side = Image.fromarray(np.hstack([downscale(photo, size), downscale(overlay, size)]))
    jpeg = io.BytesIO()
    side_by_side.save(jpeg, "JPEG", quality=80)
    return jpeg.getvalue()
