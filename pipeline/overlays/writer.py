"""Overlays and thumbnails, drawn where their photos were decoded while the model works on."""

import logging
from collections import deque
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.errors import UnjudgedError
from pipeline.overlays.draw import OverlayLook
from pipeline.overlays.draw_detections import Detections
from pipeline.overlays.draw_pictures import Drawing, DrawnPictures, draw_pictures
from pipeline.records import Box, Floats, PendingResult, Sample
from pipeline.results.files import ResultsFiles
from pipeline.results.names import overlay_name, thumbnail_name

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pending:
    """An overlay being drawn."""

    name: str
    path: str
    result: PendingResult


class OverlayWriter:
    """Draws overlays: in the decoders of the photos, or of photos that are here in threads.

    The number of photos in the queue is limited, and so is the memory. At its end the log says how much space the
    pictures take: often several times that of the photos.
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
            threads: number of overlays drawn at once here.
            waiting: longest queue of photos; at least one for each thread.
            clashing: paths of photos with names indistinguishable from others on some disks.
        """
        self._results = results
        self._look = look
        self._threads = ThreadPoolExecutor(threads)
        self._queue: deque[_Pending] = deque()
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
        photo, kept = sample.photo, sample.kept
        if photo is None and kept is None:
            return None
        path = sample.ref.path
        name = name or overlay_name(path, clashes=path in self._clashing)
        while len(self._queue) >= self._longest_queue:
            self._await_oldest()
        self._photo_bytes += sample.ref.file_bytes
        out = self._results.out if isinstance(self._results.out, Path) else None
        drawing = Drawing(name, out, attention, box, (sample.width, sample.height), detections, self._look)
        result: PendingResult
        if photo is not None:
            result = self._threads.submit(draw_pictures, photo, drawing)
        elif kept is not None:
            result = kept.start(drawing)
        self._queue.append(_Pending(name, path, result))
        return name

    def flush(self) -> None:
        """Wait until every overlay is in place; raise the error of any failed one."""
        while self._queue:
            self._await_oldest()

    def _await_oldest(self) -> None:
        pending = self._queue.popleft()
        try:
            drawn: DrawnPictures = pending.result.result()
        except UnjudgedError as error:
            log.warning("%s: no overlay: %s", pending.path, error)
            self._results.note_picture(pending.name, None)
            return
        self._bytes += drawn.size
        if drawn.contents is None:
            self._results.note_picture(pending.name, drawn.name)
            return
        overlay, thumbnail = drawn.contents
        self._results.write_picture(drawn.name, overlay)
        self._results.write_picture(thumbnail_name(drawn.name), thumbnail)


def _format_bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
