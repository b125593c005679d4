"""Show the last runs of a results folder, the labels in its table, and its failures.

vitrollout status results/photos
vitrollout status results/photos --json
"""

import json

import click

from jobs.command_line.decorator import command
from jobs.command_line.locations import LocationType
from pipeline.report.status import format_status, read_status
from pipeline.storage.location import Location


@command(__doc__)
@click.argument("out", type=LocationType())
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="number of last runs")
@click.option("--failures", type=click.IntRange(0), default=10, show_default=True, help="number of newest failures")
@click.option("--json", "as_json", is_flag=True, help="for programs: one JSON object")
def status_command(out: Location, runs: int, failures: int, as_json: bool) -> None:
    status = read_status(out, runs=runs, failures=failures)
    click.echo(json.dumps(status.as_json()) if as_json else format_status(status))
