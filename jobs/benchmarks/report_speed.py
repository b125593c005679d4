"""How long a report takes: to write, to its first paint, to show the gallery, to filter and to sort.

python -m jobs.benchmarks.report_speed --rows 100000
"""

import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import click
import numpy as np

_REPEATS = 5

# In the page: from a change of the filters until the browser has painted what they select.
_FILTER = """(change) => new Promise((done) => {
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


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.option("--rows", default=100_000, show_default=True, help="photos in the table")
def report_speed(rows: int) -> None:  # noqa: D103 - its help is the module's
    from playwright.sync_api import sync_playwright

    from pipeline.report.write_page import write_report

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        out = Path(folder)
        _write_table(out, rows)
        begin = time.perf_counter()
        page = write_report(out)
        seconds = {"write the report": [time.perf_counter() - begin]}
        browser = started.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
        for _ in range(_REPEATS):
            opened = browser.new_page()
            begin = time.perf_counter()
            opened.goto(page.as_uri(), wait_until="commit")
            opened.wait_for_selector("#cards li")
            seconds.setdefault("show the gallery", []).append(time.perf_counter() - begin)
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            seconds.setdefault("first paint", []).append(opened.evaluate(paint) / 1000)
            for name, change in _CHANGES.items():
                seconds.setdefault(name, []).append(opened.evaluate(_FILTER, change) / 1000)
            opened.close()
        browser.close()
    medians = {name: round(statistics.median(values), 3) for name, values in seconds.items()}
    click.echo(json.dumps({"rows": rows, "seconds, median": medians}))


def _write_table(out: Path, count: int) -> None:
    from pipeline.results.folder import ResultsFolder
    from pipeline.results.schema import Row, to_table

    random = np.random.default_rng(0)
    labels = [f"label {number}" for number in range(7)]
    scores = random.random((count, 7), dtype=np.float32)
    with ResultsFolder(out, out / "photos") as results:
        for start in range(0, count, 10_000):
            rows = []
            for number in range(start, min(count, start + 10_000)):
                top = np.argsort(-scores[number])[:5]
                path = f"line {number % 9}/2026-{1 + number % 12:02}/photo-{number:06}.png"
                rows.append(
                    Row(
                        path, None, "00" * 16, 1_000_000, 0, "ok", "bundled", "rollout", "f", results.run_id, 0,
                        width=4000, height=3000, label=labels[top[0]], score=scores[number][top[0]],
                        top_labels=[labels[label] for label in top], top_scores=scores[number][top],
                        overlay=f"overlays/{path}.png",
                    )
                )  # fmt: skip
            results.write_part(to_table(rows))


if __name__ == "__main__":
    report_speed()
