"""Plan a run for the jobs of a scheduler: photos without a current row, in shards.

`work` takes the shards, in as many jobs as you like; `finish` ends the run. A run left open under the same settings is
found again. The precision must be that of the jobs' devices, so give it where this machine has none: --precision bf16.

vitrollout plan photos/ --out results/photos --device cuda --precision bf16
"""

import json
from dataclasses import asdict
from typing import Any

import click

from jobs.command_line.decorator import command
from jobs.command_line.logs import log_format_option
from jobs.command_line.options import given_options, settings_options
from pipeline.config import RunConfig
from pipeline.scheduled import plan_shards


@command(__doc__)
@settings_options(RunConfig, argument="input")
@log_format_option
def plan_command(**options: Any) -> None:
    click.echo(json.dumps(asdict(plan_shards(RunConfig(**given_options(options))))))
