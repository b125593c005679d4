"""Overlays and thumbnails, drawn and encoded in threads while the model works on."""

import io
import logging
from collections import deque
from collections.abc import Set
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import numpy as np
from PIL import Image

from pipeline.maps.geometry import scale_box
from pipeline.overlays.draw import OverlayLook, draw_overlay
from pipeline.overlays.draw_detections import Detections, draw_detections
from pipeline.overlays.png import encode_png
from pipeline.photos.resize import downscale, fit_within
from pipeline.records import Box, Floats, Pixels, Sample
from pipeline.results.files import ResultsFiles
from pipeline.results.names import overlay_name, thumbnail_name

log = logging.getLogger(__name__)

_THUMBNAIL_SIDE = 320  # pixels, of the photo and of the overlay beside it


class OverlayWriter:
    """Draws overlays in threads. The number of photos in the queue is limited, and so is the memory.

    At its end the log says how much space the pictures take: often several times that of the photos.
    """

    def __init__(
        self,
        results: ResultsFiles,
        look: OverlayLook,
        *,
        threads: int,
        waiting: int,
        clashing: Set[str] = frozenset(),
    ) -> None:
        """Start without photos.

        Args:
            results: folder for the pictures.
            look: style, opacity and colours of the overlays.
            threads: number of overlays drawn at once.
            waiting: longest queue of photos; at least one for each thread.
            clashing: paths of photos with names indistinguishable from others on some disks.
        """
        self._results = results
        self._look = look
        self._threads = ThreadPoolExecutor(threads)
        self._queue: deque[Future[int]] = deque()
        self._longest_queue = max(threads, waiting)
        self._clashing = clashing
        self._bytes = self._photo_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        if self._bytes and error is None:
            log.info(
                "overlays and thumbnails of this run: %s, %.1f times their photos; a smaller --overlay-size takes less",
                _format_bytes(self._bytes),
                self._bytes / max(1, self._photo_bytes),
            )

    def submit(
        self, sample: Sample, attention: Floats, box: Box, *, name: str | None = None, detections: Detections = ()
    ) -> str | None:
        """Queue one overlay; wait for the oldest one first if the queue is full.

        Args:
            sample: the photo; without its pixels nothing is drawn.
            attention: (grid_h, grid_w), the raw map.
            box: the part of the photo under the map, in upright pixels of the file.
            name: of an overlay to replace; None: by the path of the photo.
            detections: the defects found, as in the table.

        Returns:
            Name of the overlay relative to OUT, or None.
        """
        if sample.photo is None:
            return None
        path = sample.ref.path
        name = name or overlay_name(path, clashes=path in self._clashing)
        while len(self._queue) >= self._longest_queue:
            self._await_oldest()
        self._photo_bytes += sample.ref.file_bytes
        self._queue.append(self._threads.submit(self._write_pictures, name, sample, attention, box, detections))
        return name

    def flush(self) -> None:
        """Wait until every overlay is in place; raise the error of any failed one."""
        while self._queue:
            self._await_oldest()

    def _await_oldest(self) -> None:
        self._bytes += self._queue.popleft().result()

    def _write_pictures(self, name: str, sample: Sample, attention: Floats, box: Box, detections: Detections) -> int:
        """Draw and save the overlay and the thumbnail of a photo; return the size of both files in bytes."""
        photo = sample.photo
        assert photo is not None, "checked by `submit`"
        height, width, _ = photo.shape
        x0, y0, x1, y1 = np.asarray(box, np.float32).tolist()  # as in the table: so a row gives the same picture later
        box = scale_box((x0, y0, x1, y1), (sample.width, sample.height), (width, height))
        heat = np.maximum(attention, 0)  # negative values speak against a label
        picture = draw_overlay(photo, heat, box, self._look)
        draw_detections(picture, detections, (sample.width, sample.height))
        overlay = np.asarray(picture)  # (h, w, 3)
        pictures = encode_png(overlay), _encode_thumbnail(photo, overlay)
        name = self._results.write_picture(name, pictures[0])
        self._results.write_picture(thumbnail_name(name), pictures[1])
        return sum(map(len, pictures))


def _encode_thumbnail(photo: Pixels, overlay: Pixels) -> bytes:
    """Put the photo, left, beside its overlay, right, both scaled down to the side of a thumbnail; return a JPEG."""
    height, width, _ = photo.shape
    size = fit_within((width, height), _THUMBNAIL_SIDE)
    side_by_side = Image.fromarray(np.hstack([downscale(photo, size), downscale(overlay, size)]))
    jpeg = io.BytesIO()
    side_by_side.save(jpeg, "JPEG", quality=80)
    return jpeg.getvalue()


def _format_bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
