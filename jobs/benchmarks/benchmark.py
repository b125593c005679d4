"""Measure vitrollout against the bare model, its own floor and its peers, on this machine.

python -m jobs.benchmarks.benchmark
python -m jobs.benchmarks.benchmark --only forward --rounds 9 --json figures.json
python -m jobs.benchmarks.benchmark --only cuda
"""

import json
import platform
import sys
import tempfile
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click

from jobs.benchmarks.timing import Figure
from pipeline.errors import VitrolloutError

QUESTIONS = ("forward", "host", "runs", "startup")
ON_REQUEST = ("cuda",)
_HEAD = ("| figure | measured | bar | medians |", "|---|---|---|---|")


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.option(
    "--only", type=click.Choice(QUESTIONS + ON_REQUEST), multiple=True, help="some of the questions; may be repeated"
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="how often each thing is timed")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the figures there as well")
@click.option("--work", type=click.Path(path_type=Path), help="folder for photos and models, kept; default: temporary")
def benchmark(only: tuple[str, ...], rounds: int, json_file: Path | None, work: Path | None) -> None:  # noqa: D103
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures: list[Figure] = []
        for question in only or QUESTIONS:
            found = import_module(f"jobs.benchmarks.{question}").measure(folder, rounds)
            click.echo("\n".join([*([] if figures else _HEAD), *map(_line, found)]))
            figures += found
    machine = {"processor": _processor(), "python": platform.python_version()}
    versions = {name: version(name) for name in ("torch", "transformers", "pillow", "pyarrow")}
    result = {"machine": machine, "versions": versions, "figures": [asdict(figure) for figure in figures]}
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(result))


def _line(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    bound = "at most" if figure.at_most else "at least"
    mark = "" if figure.met else " **not met**"
    return f"| {figure.question} | {figure.value:.3g}{unit}{mark} | {bound} {figure.bar:g}{unit} | {figure.detail} |"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0] if names else platform.machine()}"


if __name__ == "__main__":
    try:
        benchmark()
    except VitrolloutError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
