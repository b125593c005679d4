"""Classify a folder of photos, with an attention map of each.

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

from jobs.command_line.decorator import command
from jobs.command_line.interruption import Interruption
from jobs.command_line.logs import log_format_option
from jobs.command_line.options import given_options, settings_options
from pipeline.config import RunConfig
from pipeline.results.names import OVERLAYS, REPORT_PAGE, TABLE
from pipeline.run import run


@command(__doc__)
@settings_options(RunConfig, argument="input")
@log_format_option
def run_command(**options: Any) -> None:
    config = RunConfig(**given_options(options))
    with Interruption() as interruption, logging_redirect_tqdm():
        summary = run(config, stop=interruption.requested)
    names = {"table": TABLE, "overlays": OVERLAYS, "report": REPORT_PAGE}
    paths = {key: str(config.out / name) for key, name in names.items() if (config.out / name).exists()}
    click.echo(json.dumps(asdict(summary) | paths))
    sys.exit(interruption.exit_code or summary.exit_code)
