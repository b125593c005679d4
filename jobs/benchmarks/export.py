"""The time to export a large archive for three tools at once, by link and by copy."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from jobs.benchmarks.materials import save_photos
from jobs.benchmarks.timing import Figure, time_in_turn
from pipeline.results.folder import ResultsFolder
from pipeline.results.schema import Row, to_table
from pipeline.reviews.classes import extend_classes
from pipeline.reviews.files import REVIEWS, new_session_name
from pipeline.reviews.record import ReviewBox, ReviewRecord, current_moment

_PHOTOS = 10_000
_SIZE = (300, 300)
_EXIF_BYTES = 8_000  # as much as a camera writes without a thumbnail
_LABELS = ("ok", "open", "short", "spur")
_FORMATS = ("coco", "yolo", "florence2")


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure the whole command on 10,000 reviewed photos, a box in three of four.

    Args:
        folder: for photos, results and data sets.
        rounds: timings of each way.
    """
    out = folder / "export-results"
    if not out.exists():
        _write_archive(folder / "export-photos", out)
    photos = folder / "export-photos"
    timings = time_in_turn(
        {
            "link": lambda: _export(out, folder, "link"),
            "copy": lambda: _export(out, folder, "copy"),
            "cp": lambda: _copy_plainly(photos, folder),
        },
        rounds,
    )
    megabytes = sum(file.stat().st_size for file in photos.iterdir()) / 1e6
    return [
        Figure(
            f"export of {_PHOTOS:,} photos as COCO, YOLO and Florence-2, by link", timings.median("link"), 10, "s",
            detail=timings.format_medians(),
        ),
        Figure(
            "the same by copy / `cp` of the photos for each format",
            timings.ratio("copy", "cp"), 3, detail=f"{megabytes:,.0f} MB of photos",
        ),
    ]  # fmt: skip


def _export(out: Path, folder: Path, way: str) -> None:
    arguments = ("--format", ",".join(_FORMATS), "--photos", way, "--group", "photo", "--out", folder / "exported")
    command = [sys.executable, "-m", "jobs.cli", "export", out, *arguments, "--replace"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def _copy_plainly(photos: Path, folder: Path) -> None:
    """Copy the photos for each format, and replace earlier copies, without a look at any of them."""
    for name in _FORMATS:
        new, old = folder / f"copied-{name}.new", folder / f"copied-{name}"
        subprocess.run(["cp", "-r", photos, new], check=True)
        os.sync()
        if old.exists():
            shutil.rmtree(old)
        new.rename(old)


def _write_archive(photos: Path, out: Path) -> None:
    """Write photos, each with other bytes, a table with a row for each, and a review of each."""
    rows = []
    with ResultsFolder(out, photos) as results:
        for name, content in _draw_photos(photos):
            (photos / name).write_bytes(content)
            status = (photos / name).stat()
            rows.append(
                Row(
                    name, None, hashlib.blake2b(content, digest_size=16).hexdigest(), status.st_size,
                    status.st_mtime_ns, "ok", "bundled", "rollout", "f", results.run_id, 0,
                    width=_SIZE[0], height=_SIZE[1], label="ok", label_id=0, score=0.9,
                )
            )  # fmt: skip
        results.write_part(to_table(rows))
    extend_classes(out, _LABELS)
    session = new_session_name("benchmark")
    records = (_review_photo(row, number, session).to_line() for number, row in enumerate(rows))
    (out / REVIEWS / f"{session}.jsonl").write_bytes(b"".join(records))


def _draw_photos(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the files of JPEGs that differ in their last bytes alone, ignored by every decoder."""
    save_photos(folder, 1, _SIZE, ".jpg")
    (first,) = folder.iterdir()
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x010E] = "x" * _EXIF_BYTES
    Image.open(first).save(buffer, "JPEG", quality=90, exif=exif)
    first.unlink()
    for number in range(_PHOTOS):
        yield f"photo-{number:05}.jpg", buffer.getvalue() + number.to_bytes(4, "big")


def _review_photo(row: Row, number: int, session: str) -> ReviewRecord:
    label = _LABELS[number % len(_LABELS)]
    boxes = () if label == "ok" else (ReviewBox(40, 60, 90, 100, label),)
    return ReviewRecord(
        f"{number:032x}", current_moment(), "benchmark", session, row.path, str(row.content_hash), *_SIZE,
        "confirmed", row.label, row.score, label, boxes, boxes_complete=True,
    )  # fmt: skip
