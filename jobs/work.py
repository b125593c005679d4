"""Work on a share of the shards of a planned run: one job among many.

A job killed or started twice costs time, never a row: the part of a shard is created once. Settings are those of the
plan; the options here are those of this machine.

vitrollout work results/photos --shard 3/16
vitrollout work results/photos --shard 3/16 --device cuda --devices all
"""

import json
import re
import sys
from dataclasses import asdict
from typing import Any

import click

from jobs.command_line.decorator import command
from jobs.command_line.interruption import Interruption
from jobs.command_line.locations import LocationType
from jobs.command_line.logs import log_format_option
from jobs.command_line.options import given_options
from pipeline.errors import ConfigError
from pipeline.scheduled import work_on_shards
from pipeline.storage.location import Location


@command(__doc__)
@click.argument("out", type=LocationType())
@click.option("--shard", default="1/1", show_default=True, help="I/N: the I-th of N jobs takes every N-th shard")
@click.option("--device", help="auto, cpu, mps, cuda or cuda:N; by default as planned")
@click.option("--devices", help="N, all, or 0,2,3: several devices of this machine; by default one")
@click.option("--workers", help="processes for decoding photos, of each device; by default as planned")
@click.option("--batch-size", help="photos in one forward pass; by default as planned")
@log_format_option
def work_command(out: Location, shard: str, **options: Any) -> None:
    turn, of = _parse_shard(shard)
    with Interruption() as interruption:
        done = work_on_shards(out, turn, of, given_options(options), interruption.requested)
    click.echo(json.dumps(asdict(done)))
    sys.exit(interruption.exit_code if done.shards_left else 0)


def _parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"shard = {text}: must be I/N with I from 1 to N, such as 3/16")
    return int(match[1]), int(match[2])
