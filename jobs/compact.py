"""Merge the small parts of a results folder's table: the newest row of each photo, sorted by path.

vitrollout compact results/photos
vitrollout compact results/photos --prune
"""

import json
from dataclasses import asdict

import click

from jobs.command_line.decorator import command
from jobs.command_line.locations import LocationType
from jobs.command_line.logs import log_format_option
from pipeline.results.compact import compact
from pipeline.results.names import REPORT_PAGE
from pipeline.storage.files import file_status
from pipeline.storage.location import Location


@command(__doc__)
@click.argument("out", type=LocationType())
@click.option("--prune", is_flag=True, help="also drop rows of deleted photos, and overlays without a row")
@log_format_option
def compact_command(out: Location, prune: bool) -> None:
    compaction = compact(out, prune=prune)
    if compaction.pruned and file_status(out / REPORT_PAGE):  # it still lists them
        from pipeline.report.write_page import write_report  # imports pandas

        write_report(out)
    click.echo(json.dumps(asdict(compaction)))
