"""Merge the small parts of a results folder's table: the newest row of each photo, sorted by path.

vitrollout compact results/photos
vitrollout compact results/photos --prune
"""

import json
from dataclasses import asdict
from pathlib import Path

import click

from jobs.command_line.decorator import command
from jobs.command_line.logs import log_format_option
from pipeline.results.compact import compact
from pipeline.results.names import REPORT_PAGE


@command(__doc__)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="also drop rows of deleted photos, and overlays without a row")
@log_format_option
def compact_command(out: Path, prune: bool) -> None:
    compaction = compact(out, prune=prune)
    if compaction.pruned and (out / REPORT_PAGE).exists():  # it still lists them
        from pipeline.report.write_page import write_report  # imports pandas

        write_report(out)
    click.echo(json.dumps(asdict(compaction)))
