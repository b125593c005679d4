"""Rewrite a results folder's report.html, as every run does at its end.

vitrollout report results/photos
"""

import json

import click

from jobs.command_line.decorator import command
from jobs.command_line.locations import LocationType
from pipeline.report.write_page import write_report
from pipeline.storage.location import Location


@command(__doc__)
@click.argument("out", type=LocationType())
def report_command(out: Location) -> None:
    click.echo(json.dumps({"report": str(write_report(out))}))
