"""Measure the report of a large table: time to write it, to its first paint, to the gallery, to filter and to sort.

python -m jobs.benchmarks.report_speed --rows 100000
"""

import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import click
import numpy as np

from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error
from jobs.readme_pictures.browser import open_browser
from pipeline.records import Floats
from pipeline.report.write_page import write_report
from pipeline.results.folder import ResultsFolder
from pipeline.results.schema import Row, to_table

_REPEATS = 5
_ROWS_PER_PART = 10_000

# In the page: milliseconds from a change of the filters until the browser has painted the selection.
_CHANGE_FILTERS = """(change) => new Promise((done) => {
    const form = document.getElementById("filters");
    for (const [name, value] of Object.entries(change)) form.elements[name].value = value;
    const started = performance.now();
    form.elements.label.dispatchEvent(new Event("input", { bubbles: true }));
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
})"""
_CHANGES = {
    "filter by path": {"path": "photo-0999", "sort": "path"},
    "filter by label and score": {"path": "", "label": "1", "lowest": "0.3", "highest": "0.7"},
    "sort by score": {"path": "", "label": "", "lowest": "", "highest": "", "sort": "score"},
}
_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"  # milliseconds


@command(__doc__)
@click.option("--rows", default=100_000, show_default=True, help="photos in the table")
def report_speed_command(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        _write_table(out, rows)
        started = time.perf_counter()
        report = write_report(out)
        seconds = {"write the report": [time.perf_counter() - started]} | _time_page(report)
    medians = {name: round(statistics.median(values), 3) for name, values in seconds.items()}
    click.echo(json.dumps({"rows": rows, "seconds, median": medians}))


def _time_page(report: Path) -> dict[str, list[float]]:
    """Open the page a few times; return the seconds of each step."""
    seconds: dict[str, list[float]] = defaultdict(list)
    with open_browser() as browser:
        for _ in range(_REPEATS):
            page = browser.new_page()
            started = time.perf_counter()
            page.goto(report.as_uri(), wait_until="commit")
            page.wait_for_selector("#cards li")
            seconds["show the gallery"].append(time.perf_counter() - started)
            seconds["first paint"].append(page.evaluate(_FIRST_PAINT) / 1000)
            for name, change in _CHANGES.items():
                seconds[name].append(page.evaluate(_CHANGE_FILTERS, change) / 1000)
            page.close()
    return seconds


def _write_table(out: Path, count: int) -> None:
    random = np.random.default_rng(0)
    labels = [f"label {number}" for number in range(7)]
    scores = random.random((count, 7), dtype=np.float32)
    with ResultsFolder(out, out / "photos") as results:
        for start in range(0, count, _ROWS_PER_PART):
            numbers = range(start, min(count, start + _ROWS_PER_PART))
            rows = [build_row(number, labels, scores[number], results.run_id) for number in numbers]
            results.write_part(to_table(rows))


def build_row(number: int, labels: list[str], scores: Floats, run_id: str) -> Row:
    """Build the row of one of many photos, with a path of its own and these probabilities."""
    top = np.argsort(-scores)[:5]
    path = f"line {number % 9}/2026-{1 + number % 12:02}/photo-{number:06}.png"
    return Row(
        path, None, "00" * 16, 1_000_000, 0, "ok", "bundled", "rollout", "f", run_id, 0,
        width=4000, height=3000, label=labels[top[0]], score=scores[top[0]],
        top_labels=[labels[label] for label in top], top_scores=scores[top], overlay=f"overlays/{path}.png",
    )  # fmt: skip


if __name__ == "__main__":
    with exit_on_error("report_speed"):
        report_speed_command()
