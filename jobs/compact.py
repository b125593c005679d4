"""Merge the small parts of a results folder's table: the newest row of each photo, sorted by path.

vitrollout compact results/photos
vitrollout compact results/photos --prune
"""

import json
from dataclasses import asdict
from pathlib import Path

import click

from jobs.command_line.logs import log_format_option
from pipeline.results.compact import compact as compact_results


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="also drop rows whose photo is gone, and overlays that no row names")
@log_format_option
def compact(out: Path, prune: bool) -> None:  # noqa: D103 - its help is the module's
    click.echo(json.dumps(asdict(compact_results(out, prune=prune))))
