"""Process several archives, for a scheduler.

vitrollout nightly nightly.toml
vitrollout nightly nightly.toml --dry-run
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from jobs.command_line.interruption import Interruption
from jobs.command_line.logs import log_format_option
from pipeline.nightly.archives import nightly as process
from pipeline.nightly.archives import preview_night, worst_exit_code
from pipeline.nightly.config import read_config
from pipeline.nightly.metrics_file import write_metrics_file


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option("--dry-run", is_flag=True, help="say what would be done, and do nothing")
@log_format_option
def nightly(config: Path, dry_run: bool) -> None:  # noqa: D103 - its help is the module's
    settings = read_config(config)
    with Interruption() as interruption:
        nights = preview_night(settings) if dry_run else process(settings, stop=interruption.requested)
    problems = [f"archive {night.name}: {night.problem}" for night in nights if night.problem]
    exit_code = interruption.exit_code or worst_exit_code(nights)
    report = {"problems": problems, "exit_code": exit_code, "archives": [asdict(night) for night in nights]}
    click.echo(json.dumps(report))  # first: a metrics file that can't be written must not cost it
    if not dry_run:
        write_metrics_file(settings, nights)
    sys.exit(exit_code)
