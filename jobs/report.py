"""Rewrite a results folder's report.html, as every run does at its end.

vitrollout report results/photos
"""

import json
from pathlib import Path

import click

from jobs.command_line.decorator import command
from jobs.command_line.locations import LocationType
from pipeline.errors import ConfigError
from pipeline.report.write_page import write_report
from pipeline.storage.location import Location


@command(__doc__)
@click.argument("out", type=LocationType())
def report_command(out: Location) -> None:
    if not isinstance(out, Path):
        raise ConfigError(f"{out}: a report needs a folder of this machine; copy the results to one first")
    click.echo(json.dumps({"report": str(write_report(out))}))
