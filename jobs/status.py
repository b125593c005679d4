"""Show the last runs of a results folder, what is in its table, and what failed.

vitrollout status results/photos
vitrollout status results/photos --json
"""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pipeline.report.status import read_status, status_text


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="how many of the last runs")
@click.option("--failures", type=click.IntRange(0), default=10, show_default=True, help="how many of the newest")
@click.option("--json", "as_json", is_flag=True, help="for programs: one JSON object")
def status(out: Path, runs: int, failures: int, as_json: bool) -> None:  # noqa: D103 - its help is the module's
    found = read_status(out, runs=runs, failures=failures)
    click.echo(json.dumps(asdict(found)) if as_json else status_text(found))
