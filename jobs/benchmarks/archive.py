"""Archives that grow: a run with nothing to do, a night's report, status and compaction over a million photos.

The archive consists of links to a few photos, and its table is written without a model. PHOTOS sets their number: the
bars are for 10,000,000, and those in seconds are scaled down for fewer.

PHOTOS=10000000 python -m jobs.benchmarks.benchmark --only archive --work /large/disk
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.benchmarks.materials import TINY, save_checkpoint, save_photos
from jobs.benchmarks.timing import Figure
from pipeline.config import RunConfig
from pipeline.results.folder import ResultsFolder
from pipeline.results.read import read_results
from pipeline.results.schema import SCHEMA
from pipeline.run import run

_PHOTOS = int(os.environ.get("PHOTOS", "1000000"))
_BARS_FOR = 10_000_000
_NEW = 1000  # photos of a night
_FOLDER = 1000  # photos of one folder, and rows of one part
_LINKS = 50_000  # to one file; ext4 allows 65,000
_LABELS = ("ok", "open", "short", "mousebite", "spur", "copper", "pinhole")
_GRID = 7

# Runs a command, then prints its peak memory in kB: Linux's VmHWM, since ru_maxrss begins with the parent's memory.
_WATCHED = (
    "import atexit, re, sys\n"
    "atexit.register(lambda: sys.stderr.write(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]))\n"
    "from jobs.cli import main\n"
    "sys.argv[0] = 'vitrollout'\n"
    "main()"
)


@dataclass(frozen=True)
class _Usage:
    """Seconds and peak memory (GB) of a command."""

    seconds: float
    memory: float


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure each command once: at this size they take long, and little disturbs them."""
    model, photos, out = save_checkpoint(TINY, folder), folder / f"archive-{_PHOTOS}", folder / f"table-{_PHOTOS}"
    if not (out / "table").exists():
        if not photos.exists():
            _link_photos(photos, _PHOTOS)
        _write_table(out, photos, model)
    common = ("run", photos, "--out", out, "--model", model, "--overlays", "none", "--no-report")
    figures = [*_compare("a run with nothing to do", _call(*common), 150, 2)]
    _link_night(photos)
    _call(*common)
    figures += _compare(f"report after a night of {_NEW:,} new photos", _call("report", out), 30, 1)
    written = sum(file.stat().st_size for file in (out / "report").rglob("*") if file.is_file())
    figures[-1] = replace(figures[-1], detail=f"{written / 1e6:.0f} MB of files")
    figures += _compare("status", _call("status", out), 30, 1)
    figures += _compare(f"compaction of {-(-_PHOTOS // _FOLDER):,} parts", _call("compact", out), 600, 2)
    _link_night(photos)
    _call(*common)
    figures += _compare("compaction after another night", _call("compact", out), 60, 2)
    return figures


def _compare(question: str, usage: _Usage, seconds: float, memory: float) -> list[Figure]:
    """Return the figures of a command beside its bars, for 10,000,000 photos."""
    photos = f"{question}, {_PHOTOS:,} photos"
    return [
        Figure(photos, usage.seconds, max(5.0, seconds * _PHOTOS / _BARS_FOR), "s"),
        Figure(f"{photos}: peak memory", usage.memory, memory, "GB"),
    ]


def _call(*arguments: object) -> _Usage:
    started = time.perf_counter()
    command = [sys.executable, "-c", _WATCHED, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr  # 3: some of the photos in the table have failed
    return _Usage(time.perf_counter() - started, int(done.stderr.split()[-1]) * 1.024e-6)


def _paths(count: int) -> Iterator[list[str]]:
    """Yield the paths of the photos, folder by folder."""
    for start in range(0, count, _FOLDER):
        number = start // _FOLDER
        folder = f"line {number % 4}/2026-{1 + number % 12:02}/shift {number:05}"
        yield [f"{folder}/photo-{photo:08}.png" for photo in range(start, min(count, start + _FOLDER))]


def _link_photos(photos: Path, count: int) -> None:
    """Fill a folder with links to a few photos."""
    originals = save_photos(photos.with_name(f"{photos.name}-originals"), -(-count // _LINKS), (64, 64), ".png")
    files = sorted(originals.iterdir())
    for number, paths in enumerate(_paths(count)):
        (photos / paths[0]).parent.mkdir(parents=True, exist_ok=True)
        original = files[number * _FOLDER // _LINKS]
        for path in paths:
            os.link(original, photos / path)


def _link_night(photos: Path) -> None:
    """Add new photos in a folder of their own."""
    night = photos / f"night {time.time_ns()}"
    original = save_photos(night, 1, (64, 64), ".png") / "photo-00000.png"
    for number in range(1, _NEW):
        os.link(original, night / f"photo-{number:05}.png")


def _write_table(out: Path, photos: Path, model: Path) -> None:
    """Write the table that a run over all photos would leave, with made-up predictions."""
    trial = out.with_name(f"{out.name}-trial")
    settings = {"model": str(model), "overlays": "none", "report": False, "limit": 1}
    run(RunConfig(input=photos, out=trial, **settings))
    template = read_results(trial).iloc[0]
    shutil.rmtree(trial)
    random = np.random.default_rng(0)
    with ResultsFolder(out, photos) as results:
        for number, paths in enumerate(_paths(_PHOTOS)):
            status = (photos / paths[0]).stat()  # all photos of a folder are the same file
            columns = {
                "path": paths,
                "file_bytes": [status.st_size] * len(paths),
                "mtime": [status.st_mtime_ns] * len(paths),
                "fingerprint": [template["fingerprint"]] * len(paths),
                "run_id": [results.run_id] * len(paths),
                **_make_predictions(len(paths), random),
            }
            arrays = [
                pa.array(columns.get(name, [None] * len(paths)), SCHEMA.field(name).type) for name in SCHEMA.names
            ]
            results.create_part(number, pa.Table.from_arrays(arrays, schema=SCHEMA), {})
            results.take_number()


def _make_predictions(count: int, random: np.random.Generator) -> dict[str, object]:
    scores = random.dirichlet([0.2] * len(_LABELS), count).astype(np.float32)  # most of them sure
    order = np.argsort(-scores, axis=1)[:, :5]
    is_failed = random.random(count) < 1e-4
    labels = [None if failed else _LABELS[best] for failed, best in zip(is_failed, order[:, 0], strict=True)]
    return {
        "content_hash": [f"{number:032x}" for number in random.integers(0, 2**62, count)],
        "width": [4000] * count,
        "height": [3000] * count,
        "status": ["failed" if failed else "ok" for failed in is_failed],
        "error": ["truncated" if failed else None for failed in is_failed],
        "label": labels,
        "label_id": order[:, 0],
        "score": [None if failed else score for failed, score in zip(is_failed, scores.max(axis=1), strict=True)],
        "top_labels": [[_LABELS[label] for label in row] for row in order],
        "top_scores": list(np.take_along_axis(scores, order, axis=1)),
        "logits": list(np.log(scores + 1e-6)),
        "attention": list(random.random((count, _GRID**2), dtype=np.float32)),
        "grid_h": [_GRID] * count,
        "grid_w": [_GRID] * count,
        "map_box": [[0.0, 0.0, 4000.0, 3000.0]] * count,
        "model": ["tiny"] * count,
        "method": ["rollout"] * count,
        "processed_at": [time.time_ns() // 1000] * count,
    }
