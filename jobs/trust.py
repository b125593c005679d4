"""Measure which maps of a model can be trusted, on your own photos.

DATA is a folder of photos, or a CSV with a column path and, if known, label, split and the boxes of defects, x0, y0,
x1, y1 in pixels. Every method is measured beside maps computed without the model: a random one, a spot in the middle,
and the edges in the photo. --save keeps the verdict with the model, for --method auto of run, nightly and explain.
Ctrl-C ends it early with the results so far.

vitrollout trust photos/ --model models/mine
vitrollout trust labels.csv --model models/mine --limit none --out trust --save
vitrollout trust photos/ --boxes boxes.csv --methods rollout,relevance,libragrad
"""

import json
import sys
from typing import Any

import click

from jobs.command_line.decorator import command
from jobs.command_line.exits import SOME_PHOTOS_FAILED, exit_if_stopped
from jobs.command_line.extras import require_extra
from jobs.command_line.options import given_options, settings_options
from jobs.command_line.threads import let_waiting_threads_sleep
from pipeline.trust.config import TrustConfig


@command(__doc__)
@settings_options(TrustConfig, argument="data")
def trust_command(**options: Any) -> None:
    require_extra("train", "sklearn", "matplotlib")
    config = TrustConfig(**given_options(options))
    let_waiting_threads_sleep()
    from pipeline.trust.measure import trust  # imports torch

    with exit_if_stopped() as interruption:
        report = trust(config, stop=interruption.requested)
    summary = {
        "photos": report.photos,
        "failed": report.failed,
        "pointed": report.pointed,
        "sentence": report.sentence,
        "trusted": report.trusted,
        "shortcuts": report.evidence and report.evidence.sentences,
        **{file: str(config.out / f"trust.{file}") for file in ("json", "md", "parquet", "png")},
    }
    click.echo(json.dumps(summary))
    sys.exit(interruption.exit_code or (SOME_PHOTOS_FAILED if report.failed else 0))
