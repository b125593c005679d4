"""Measure a review of a large table of 12-megapixel photos in a browser: start, keys, records, memory.

The last line is JSON; above it, each figure beside its target.

python -m jobs.benchmarks.review_speed --rows 100000
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import click
import numpy as np

from jobs.benchmarks.materials import save_photos
from jobs.benchmarks.timing import Figure
from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error
from jobs.readme_pictures.browser import open_browser
from pipeline.records import Floats
from pipeline.results.folder import ResultsFolder
from pipeline.results.schema import Row, to_table

_FILES, _SIZE = 24, (4000, 3000)  # reused under all paths, as hard links
_ROWS_PER_PART = 10_000
_CLASSES, _GRID = 7, 14
_KEYS, _KEYS_A_SECOND = 40, 4
_VISITS = 5
_PAINTED = "#stage[data-painted]"

# In the page: milliseconds from each key to the paint of the next photo, as the browser stamps them.
_WATCH_KEYS = """() => {
    performance.setResourceTimingBufferSize(5000);
    window.delays = [];
    let pressed = null;
    addEventListener("keydown", (event) => (pressed = event.timeStamp), true);
    new PerformanceObserver((list) => {
        for (const mark of list.getEntriesByName("painted"))
            if (pressed !== null) { window.delays.push(mark.startTime - pressed); pressed = null; }
    }).observe({ type: "mark" });
}"""
_FIRST_PHOTO = "() => performance.getEntriesByName('painted')[0].startTime"
_RECORD_TIMES = """() => performance.getEntriesByType("resource")
    .filter((entry) => entry.name.endsWith("/api/records")).map((entry) => entry.duration)"""


@command(__doc__)
@click.option("--rows", default=100_000, show_default=True, help="photos in the table")
@click.option("--work", type=click.Path(path_type=Path), help="folder for photos and table, kept; default: temporary")
def review_speed_command(rows: int, work: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        if not (folder / "results").exists():
            _write_results(folder, rows)
        load = os.getloadavg()[0]
        figures = _measure(folder / "results")
    for figure in figures:
        verdict = "" if figure.met else ", not met"
        click.echo(f"{figure.question:48} {figure.value:8.1f} {figure.unit:3} (target {figure.bar:g}{verdict})")
    machine = {"rows": rows, "cores": os.cpu_count(), "load before": round(load, 1)}
    click.echo(json.dumps(machine | {"figures": [asdict(figure) for figure in figures]}))


def _measure(out: Path) -> list[Figure]:
    with open_browser() as browser:
        started = time.perf_counter()
        with _start_server(out) as (server, url):
            page = browser.new_page(viewport={"width": 1920, "height": 1080})
            page.goto(url)
            page.wait_for_selector(_PAINTED)
            start = time.perf_counter() - started
            visits = [page.evaluate(_FIRST_PHOTO), *(_visit(browser, url) for _ in range(_VISITS))]
            delays, records = _press_keys(page)
            page.close()
            alone = _post_records(url)
            memory = _resident_megabytes(server.pid)
    median, p95 = np.percentile(delays, [50, 95])
    return [
        Figure("process start to first photo painted", start, 3, "s"),
        Figure("navigation to first photo painted, first visit", visits[0] / 1000, 1, "s"),
        Figure("the same, median of later visits", float(np.median(visits[1:])) / 1000, 1, "s"),
        Figure(f"key to next photo, {_KEYS_A_SECOND} a second, median", float(median), 50, "ms"),
        Figure(f"key to next photo, {_KEYS_A_SECOND} a second, p95", float(p95), 100, "ms"),
        Figure("record durable, p95", float(np.percentile(alone, 95)), 50, "ms"),
        Figure("the same seen by the page while it decodes, p95", float(np.percentile(records, 95)), 50, "ms"),
        Figure("memory of the server", memory, 400, "MB"),
    ]


def _visit(browser: Any, url: str) -> float:
    """Open the page in a new tab; return the milliseconds to its first photo."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.goto(url)
    page.wait_for_selector(_PAINTED)
    milliseconds: float = page.evaluate(_FIRST_PHOTO)
    page.close()
    return milliseconds


def _press_keys(page: Any) -> tuple[list[float], list[float]]:
    """Decide at a steady pace; return the milliseconds to each next photo, and to each acknowledged record."""
    page.evaluate(_WATCH_KEYS)
    due = time.perf_counter() + 2  # the photos ahead are decoded by then, as while a person looks at the first
    for number in range(_KEYS):
        time.sleep(max(0, due - time.perf_counter()))
        page.keyboard.press(str(1 + number % _CLASSES))
        due += 1 / _KEYS_A_SECOND
    page.wait_for_selector("#unsent:has-text('all saved')")
    page.wait_for_selector(_PAINTED)
    delays, records = page.evaluate("() => window.delays"), page.evaluate(_RECORD_TIMES)
    if len(delays) != len(records):
        click.echo(f"{len(delays)} of {_KEYS} keys found their photo painted", err=True)
    return delays, records


def _post_records(url: str) -> list[float]:
    """Send decisions without a browser; return the milliseconds to each acknowledged record."""
    address, token = url.split("/#token=")
    headers = {"X-Review-Token": token, "Content-Type": "application/json"}
    with urlopen(Request(f"{address}/api/start", headers=headers)) as answer:
        rows = json.load(answer)["rows"]
    milliseconds = []
    for row in rows[:_KEYS]:
        content = {"id": uuid.uuid4().hex, "content_hash": row["content_hash"], "verdict": "unsure"}
        time.sleep(1 / _KEYS_A_SECOND)
        started = time.perf_counter()
        with urlopen(Request(f"{address}/api/records", json.dumps(content).encode(), headers)) as answer:
            answer.read()
        milliseconds.append(1000 * (time.perf_counter() - started))
    return milliseconds


@contextmanager
def _start_server(out: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = [sys.executable, "-m", "jobs.cli", "review", str(out), "--no-browser", "--audit", "0"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stderr or ())
            yield process, next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
        finally:
            process.terminate()


def _resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def _write_results(folder: Path, count: int) -> None:
    """Write photos and a table in which each path has a content of its own."""
    files = sorted(save_photos(folder / "files", _FILES, _SIZE, ".jpg").iterdir())
    random = np.random.default_rng(0)
    labels = [f"label {number}" for number in range(_CLASSES)]
    scores = random.dirichlet(np.full(_CLASSES, 0.4), count).astype(np.float32)
    with ResultsFolder(folder / "results", folder / "photos") as results:
        for start in range(0, count, _ROWS_PER_PART):
            rows = []
            for number in range(start, min(count, start + _ROWS_PER_PART)):
                row = _build_row(number, labels, scores[number], results.run_id)
                file = files[number % _FILES]
                photo = folder / "photos" / row.path
                photo.parent.mkdir(parents=True, exist_ok=True)
                photo.hardlink_to(file)
                heat = random.random((2, _GRID * _GRID), dtype=np.float32)
                rows.append(
                    replace(
                        row, content_hash=hashlib.blake2b(row.path.encode(), digest_size=16).hexdigest(),
                        file_bytes=file.stat().st_size, mtime=file.stat().st_mtime_ns, overlay=None, attention=heat[0],
                        more_maps=[("libragrad", heat[1])], grid_h=_GRID, grid_w=_GRID,
                        map_box=[0.0, 0.0, *map(float, _SIZE)],
                    )
                )  # fmt: skip
            results.write_part(to_table(rows))


def _build_row(number: int, labels: list[str], scores: Floats, run_id: str) -> Row:
    """Build the row of one of many photos, with a path of its own and these probabilities."""
    top = np.argsort(-scores)[:5]
    path = f"line {number % 9}/2026-{1 + number % 12:02}/photo-{number:06}.png"
    return Row(
        path, None, "00" * 16, 1_000_000, 0, "ok", "bundled", "rollout", "f", run_id, 0,
        width=4000, height=3000, label=labels[top[0]], score=scores[top[0]],
        top_labels=[labels[label] for label in top], top_scores=scores[top], overlay=f"overlays/{path}.png",
    )  # fmt: skip


if __name__ == "__main__":
    with exit_on_error("review_speed"):
        review_speed_command()
