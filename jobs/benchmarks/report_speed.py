"""Measure report and status of a large table: time and memory; then the page: first paint, gallery, filters, sorting.

python -m jobs.benchmarks.report_speed --rows 100000
python -m jobs.benchmarks.report_speed --rows 10000000 --no-page
"""

import json
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click

from jobs.benchmarks.synthetic_table import write_synthetic_run
from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error
from jobs.readme_pictures.browser import open_browser
from pipeline.report.status import read_status
from pipeline.report.write_page import write_report
from pipeline.results.names import REPORT_DATA, REPORT_PAGE

_REPEATS = 5
_MEASURED = ("write the report", "status")

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
@click.option("--new", default=1000, show_default=True, help="photos of a second run, half of them new")
@click.option("--page/--no-page", default=True, show_default=True, help="open the page in a browser too")
def report_speed_command(rows: int, new: int, page: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        write_synthetic_run(out, range(rows))
        write_synthetic_run(out, range(rows - new // 2, rows + new - new // 2))
        measured = [_measure(function, out) for function in (write_report, read_status)]
        seconds = {name: values for name, (values, _) in zip(_MEASURED, measured, strict=True)}
        memory = {name: peak for name, (_, peak) in zip(_MEASURED, measured, strict=True)}
        files = [out / REPORT_PAGE, *(out / REPORT_DATA).glob("*/*")]
        megabytes = round(sum(file.stat().st_size for file in files) / 1e6, 1)
        if page:
            seconds |= _time_page(out / REPORT_PAGE)
    medians = {name: round(statistics.median(values), 3) for name, values in seconds.items()}
    click.echo(
        json.dumps({"rows": rows, "seconds, median": medians, "peak memory, MB": memory, "report, MB": megabytes})
    )


def _measure(function: Callable[[Path], object], out: Path) -> tuple[list[float], int]:
    """Call a function in a process of its own; return its seconds, imports included, and its peak memory in MB."""
    started = time.perf_counter()
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        peak = process.submit(_measure_memory, function, out).result()
    return [time.perf_counter() - started], peak


def _measure_memory(function: Callable[[Path], object], out: Path) -> int:
    function(out)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


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


if __name__ == "__main__":
    with exit_on_error("report_speed"):
        report_speed_command()
