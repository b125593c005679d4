"""Run the pipeline over a folder.

vitrollout run photos/ --out results/photos
vitrollout run photos/ --out results/photos --model google/vit-large-patch32-384
vitrollout run photos/ --out results/photos --model models/mine --overlay-size none --limit 1000
"""

import json
import sys
from dataclasses import asdict
from typing import Any

import click
from tqdm.contrib.logging import logging_redirect_tqdm

from jobs.command_line.interruption import Interruption
from jobs.command_line.logs import log_format_option
from jobs.command_line.options import given, settings_options
from pipeline import RunConfig
from pipeline import run as run_pipeline


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@settings_options(RunConfig, argument="input")
@log_format_option
def run(**options: Any) -> None:  # noqa: D103 - its help is the module's
    config = RunConfig(**given(options))
    with Interruption() as interruption, logging_redirect_tqdm():
        summary = run_pipeline(config, stop=interruption.requested)
    names = {"table": "table", "overlays": "overlays", "report": "report.html"}
    paths = {key: str(config.out / name) for key, name in names.items() if (config.out / name).exists()}
    click.echo(json.dumps(asdict(summary) | paths))
    sys.exit(interruption.exit_code or summary.exit_code)
