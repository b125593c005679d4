"""Finish a planned run once its jobs are done: counts, comparisons, record, report.

Ends with 1 while shards are missing: start their jobs again, then finish.

vitrollout finish results/photos
"""

import json
import sys
from dataclasses import asdict

import click

from jobs.command_line.decorator import command
from jobs.command_line.locations import LocationType
from jobs.command_line.logs import log_format_option
from pipeline.scheduled import finish_open_runs
from pipeline.storage.location import Location


@command(__doc__)
@click.argument("out", type=LocationType())
@log_format_option
def finish_command(out: Location) -> None:
    summary = finish_open_runs(out)
    click.echo(json.dumps(asdict(summary)))
    sys.exit(summary.exit_code)
