"""Run several archives from one configuration file, for a scheduler.

vitrollout nightly nightly.toml
vitrollout nightly nightly.toml --dry-run
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from jobs.command_line.decorator import command
from jobs.command_line.interruption import Interruption
from jobs.command_line.logs import log_format_option
from pipeline.nightly.archives import nightly, preview_night, worst_exit_code
from pipeline.nightly.config import read_config
from pipeline.nightly.metrics_file import write_metrics_file


@command(__doc__)
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option("--dry-run", is_flag=True, help="log the plan of each archive, and process nothing")
@log_format_option
def nightly_command(config: Path, dry_run: bool) -> None:
    settings = read_config(config)
    with Interruption() as interruption:
        nights = preview_night(settings) if dry_run else nightly(settings, stop=interruption.requested)
    problems = [f"archive {night.name}: {night.problem}" for night in nights if night.problem]
    exit_code = interruption.exit_code or worst_exit_code(nights)
    report = {"problems": problems, "exit_code": exit_code, "archives": [asdict(night) for night in nights]}
    click.echo(json.dumps(report))  # before the metrics file: its failure must not cost the report
    if not dry_run:
        write_metrics_file(settings, nights)
    sys.exit(exit_code)
