"""The pictures of a row: photo, thumbnail, overlay, map. Files are named by the table alone, never by a request."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pipeline.errors import DecodeError
from pipeline.results.names import OVERLAYS, thumbnail_name
from pipeline.results.run_record import newest_run_records
from pipeline.review.photo_format import browser_type
from pipeline.review.refusals import PhotoChangedError, PictureMissingError
from pipeline.review.renditions import Renderer, RenditionTask
from pipeline.review.row_maps import MapReader
from pipeline.review.rows import ReviewRows

_THUMBNAILS_KEPT = 512
_RENDITIONS_KEPT = 6  # full photos as PNG: tens of megabytes each


@dataclass(frozen=True)
class PictureFile:
    """A picture to send.

    Attributes:
        content: its bytes.
        media_type: for the header Content-Type.
    """

    content: bytes
    media_type: str


class Pictures:
    """Reads and makes the pictures of rows. Safe for use by several threads."""

    def __init__(self, rows: ReviewRows, maps: MapReader, renderer: Renderer) -> None:
        """Take the decoder's settings of the newest run, so photos look as the model saw them."""
        self._rows = rows
        self._maps = maps
        self._renderer = renderer
        record = next(newest_run_records(rows.out), None)
        settings = record.settings if record else {}
        self._white_level = settings.get("white_level")
        self._max_pixels = settings.get("max_pixels")
        self._render_photo = lru_cache(_RENDITIONS_KEPT)(self._render_photo_now)
        self.thumbnail = lru_cache(_THUMBNAILS_KEPT)(self._thumbnail)

    def photo(self, row: int) -> PictureFile:
        """Return the photo: its own bytes where browsers show them, else upright as PNG.

        Raises:
            PictureMissingError: it is gone.
            PhotoChangedError: it has changed since the run.
            DecodeError: it can't be decoded.
        """
        content = self._read_photo(row)
        media_type = browser_type(content)
        return PictureFile(content, media_type) if media_type else self._render_photo(row)

    def overlay(self, row: int) -> PictureFile:
        """Return the overlay of the run; raises PictureMissingError."""
        name = self._rows.value("overlay", row)
        parts = PurePosixPath(name or "").parts
        if not parts or parts[0] != OVERLAYS or ".." in parts or "\0" in name:
            raise PictureMissingError("this photo has no overlay")
        return PictureFile(_read_file(self._rows.out / name), "image/png")

    def map(self, row: int, method: str | None) -> PictureFile:
        """Draw a map over the photo; the main method's by default. Raises as `photo`."""
        maps = self._maps.read(row)
        heat = maps.maps.get(method or maps.method) if maps else None
        if maps is None or heat is None:
            raise PictureMissingError("this photo has no such map")
        task = self._task("map", self._read_photo(row))
        return PictureFile(
            self._renderer.render(RenditionTask(**{**vars(task), "heat": heat, "box": maps.box})), "image/png"
        )

    def _thumbnail(self, row: int) -> PictureFile:
        """Return a small upright JPEG: from the run's thumbnails, or made from the photo. Raises as `photo`."""
        overlay = self._rows.value("overlay", row)
        if overlay:
            try:
                both = (self._rows.out / thumbnail_name(overlay)).read_bytes()
                return PictureFile(self._renderer.render(RenditionTask("left half", both)), "image/jpeg")
            except (OSError, DecodeError):
                pass  # not there, or not one of ours: made from the photo
        task = self._task("small", self._read_photo(row))
        return PictureFile(self._renderer.render(task), "image/jpeg")

    def _render_photo_now(self, row: int) -> PictureFile:
        return PictureFile(self._renderer.render(self._task("photo", self._read_photo(row))), "image/png")

    def _task(self, kind: str, content: bytes) -> RenditionTask:
        return RenditionTask(kind, content, self._max_pixels, self._white_level)  # type: ignore[arg-type]

    def _read_photo(self, row: int) -> bytes:
        """Read the file of a photo, unchanged since the run by size and time or else by its content."""
        file = self._rows.photo_file(row)
        if file is None:
            raise PictureMissingError("the photo's path leads out of the input folder")
        try:
            with open(file, "rb") as stream:
                status = os.fstat(stream.fileno())
                content = stream.read()
        except OSError as error:
            path = self._rows.value("path", row)
            raise PictureMissingError(f"{path} can't be read: {error.strerror}; put it back, or run again") from None
        same_stamp = (len(content), status.st_mtime_ns) == self._stamp(row)
        if not same_stamp and hashlib.blake2b(content, digest_size=16).hexdigest() != self._content_hash(row):
            path = self._rows.value("path", row)
            raise PhotoChangedError(f"{path} has changed since the run; run vitrollout again to judge it")
        return content

    def _content_hash(self, row: int) -> str:
        return str(self._rows.value("content_hash", row))

    def _stamp(self, row: int) -> tuple[int, int]:
        return self._rows.value("file_bytes", row), self._rows.table["mtime"][row].value


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise PictureMissingError(f"{file.name} can't be read: {error.strerror}") from None
