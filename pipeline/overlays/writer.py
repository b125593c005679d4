"""Predictions -> overlays and thumbnails, drawn and encoded in threads beside the model, never in its way."""

import hashlib
import io
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import numpy as np
from PIL import Image

from pipeline.overlays.draw import OverlayLook, draw_overlay
from pipeline.overlays.png import encode_png
from pipeline.photos.resize import downscale
from pipeline.records import Box, Pixels, Prediction
from pipeline.results.folder import ResultsFolder

_LONGEST_NAME = 255  # bytes, on every common file system
_LONGEST_PATH = 2000  # bytes below OUT; systems allow some 4,096 with everything above
_THUMBNAIL_SIDE = 320  # pixels, of the photo and of the overlay beside it


class OverlayWriter:
    """Draws overlays in threads; only so many photos wait, so memory stays bounded."""

    def __init__(self, results: ResultsFolder, look: OverlayLook, *, threads: int, waiting: int) -> None:
        """Args: where overlays go, how they look, how many are drawn at once, and how many photos may wait."""
        self._results = results
        self._look = look
        self._threads = ThreadPoolExecutor(threads)
        self._waiting: deque[Future[None]] = deque()
        self._most_waiting = max(threads, waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def submit(self, prediction: Prediction, box: Box) -> str | None:
        """Queue one overlay.

        Args:
            prediction: what to draw; without a photo nothing is drawn.
            box: the part of the photo that the map covers, in upright pixels.

        Returns:
            Its name relative to OUT, or None.
        """
        if prediction.sample.photo is None:
            return None
        name = overlay_name(prediction.sample.ref.path)
        while len(self._waiting) >= self._most_waiting:
            self._waiting.popleft().result()
        self._waiting.append(self._threads.submit(self._write, name, prediction, box))
        return name

    def flush(self) -> None:
        """Wait until every overlay is in place; raises what went wrong with one."""
        while self._waiting:
            self._waiting.popleft().result()

    def _write(self, name: str, prediction: Prediction, box: Box) -> None:
        sample, photo = prediction.sample, prediction.sample.photo
        assert photo is not None
        height, width = photo.shape[:2]
        scale_x, scale_y = width / sample.width, height / sample.height
        scaled = box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y
        attention = np.maximum(prediction.attention, 0)  # below is what speaks against a label: no heat
        picture = draw_overlay(photo, attention, scaled, self._look)
        overlay = np.asarray(picture)
        self._results.write_picture(name, encode_png(overlay))
        self._results.write_picture(thumbnail_name(name), _thumbnail(photo, overlay))


def overlay_name(path: str) -> str:
    """Where a photo's overlay goes, relative to OUT: `overlays/<path>.png`, unlike any other photo's.

    Names that would be too long are cut and get a hash; a folder that is called `x.png` gets a `~`, since the
    overlay of a photo `x` beside it has that name.
    """
    *folders, name = path.split("/")
    folders = [_fit(re.sub(r"(\.png~*)$", r"\1~", folder)) for folder in folders]
    fitted = "/".join(["overlays", *folders, _fit(name, ".png")])
    if len(fitted.encode()) > _LONGEST_PATH:
        return f"overlays/~/{_digest(path)}.png"
    return fitted


def thumbnail_name(overlay: str) -> str:
    """Where the small picture of a photo and its overlay goes, relative to OUT; short and plain, whatever the name."""
    digest = _digest(overlay)
    return f"thumbnails/{digest[:2]}/{digest}.jpg"


def _thumbnail(photo: Pixels, overlay: Pixels) -> bytes:
    """JPEG of the photo, left, and its overlay, right, each as large as fits in the thumbnail's side."""
    height, width, _ = photo.shape
    scale = min(1.0, _THUMBNAIL_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    both = Image.fromarray(np.hstack([downscale(photo, size), downscale(overlay, size)]))
    jpeg = io.BytesIO()
    both.save(jpeg, "JPEG", quality=80)
    return jpeg.getvalue()


def _fit(name: str, suffix: str = "") -> str:
    """A name that is short enough; a cut one is unlike every other, so names that look cut are cut as well."""
    if len((name + suffix).encode()) <= _LONGEST_NAME and not re.search("~[0-9a-f]{16}$", name):
        return name + suffix
    tail = f"~{_digest(name)}{suffix}"
    return name.encode()[: _LONGEST_NAME - len(tail)].decode("utf-8", "ignore") + tail


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
