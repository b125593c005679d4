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


@command(__doc__)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="also drop rows of deleted photos, and overlays without a row")
@log_format_option
def compact_command(out: Path, prune: bool) -> None:
    click.echo(json.dumps(asdict(compact(out, prune=prune))))
