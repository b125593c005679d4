"""Rewrite a results folder's report.html, as every run does at its end.

vitrollout report results/photos
"""

import json
from pathlib import Path

import click

from jobs.command_line.decorator import command
from pipeline.report.write_page import write_report


@command(__doc__)
@click.argument("out", type=click.Path(path_type=Path))
def report_command(out: Path) -> None:
    click.echo(json.dumps({"report": str(write_report(out))}))
