"""Measure vitrollout against the bare model, its own floor and its peers, on this machine.

python -m jobs.benchmarks.benchmark
python -m jobs.benchmarks.benchmark --only forward --rounds 9 --json figures.json
python -m jobs.benchmarks.benchmark --only cuda
"""

import json
import platform
import tempfile
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click

from jobs.benchmarks.timing import Figure
from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error

QUESTIONS = ("forward", "host", "process", "runs", "startup", "export")
ON_REQUEST = ("archive", "cuda", "devices", "storage")
_TABLE_HEAD = ("| figure | measured | bar | medians |", "|---|---|---|---|")


@command(__doc__)
@click.option("--only", type=click.Choice(QUESTIONS + ON_REQUEST), multiple=True, help="a question; may be repeated")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="timings of each variant")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="also write the figures to this file")
@click.option("--work", type=click.Path(path_type=Path), help="folder for photos and models, kept; default: temporary")
def benchmark_command(only: tuple[str, ...], rounds: int, json_file: Path | None, work: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures: list[Figure] = []
        for question in only or QUESTIONS:
            measured = import_module(f"jobs.benchmarks.{question}").measure(folder, rounds)
            click.echo("\n".join([*([] if figures else _TABLE_HEAD), *map(_format_row, measured)]))
            figures += measured
    machine = {"processor": _describe_processor(), "python": platform.python_version()}
    versions = {name: version(name) for name in ("torch", "transformers", "pillow", "pyarrow")}
    result = {"machine": machine, "versions": versions, "figures": [asdict(figure) for figure in figures]}
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(result))


def _format_row(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    bound = "at most" if figure.at_most else "at least"
    verdict = "" if figure.met else " **not met**"
    return f"| {figure.question} | {figure.value:.3g}{unit}{verdict} | {bound} {figure.bar:g}{unit} | {figure.detail} |"


def _describe_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0] if names else platform.machine()}"


if __name__ == "__main__":
    with exit_on_error("benchmark"):
        benchmark_command()
