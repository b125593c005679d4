"""Measure which maps of a model can be trusted, on your own photos.

DATA is a folder of photos, or a CSV with a column path and, where known, label, split and the boxes of defects,
x0, y0, x1, y1 in pixels. Every method is measured beside maps that know nothing of the model: a random one, a spot in
the middle, and the edges in the photo. Ctrl-C ends it early with what was found so far.

vitrollout trust photos/ --model models/mine
vitrollout trust labels.csv --model models/mine --limit none --out trust
vitrollout trust photos/ --boxes boxes.csv --methods rollout,relevance,libragrad
"""

import json
import os
import sys
from typing import Any

import click

from jobs.command_line.extras import require_extra
from jobs.command_line.interruption import Interruption
from jobs.command_line.options import given, settings_options
from pipeline.errors import StoppedError
from pipeline.trust.config import TrustConfig

_FAILED_PHOTOS = 3


@click.command(help=__doc__.replace("\n\nvit", "\n\n\b\nvit"))
@settings_options(TrustConfig, argument="data")
def trust(**options: Any) -> None:  # noqa: D103 - its help is the module's
    require_extra("train", "sklearn", "matplotlib")
    config = TrustConfig(**given(options))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see jobs/finetune.py
    from pipeline.trust.measure import trust as measure

    with Interruption() as interruption:
        try:
            found = measure(config, stop=interruption.requested)
        except StoppedError as stopped:
            click.echo(f"vitrollout trust: {stopped}", err=True)
            sys.exit(interruption.exit_code)
    summary = {
        "photos": found.photos,
        "failed": found.failed,
        "pointed": found.pointed,
        "sentence": found.sentence,
        "trusted": found.trusted,
        **{file: str(config.out / f"trust.{file}") for file in ("json", "md", "parquet", "png")},
    }
    click.echo(json.dumps(summary))
    if interruption.requested():
        sys.exit(interruption.exit_code)
    sys.exit(_FAILED_PHOTOS if found.failed else 0)


if __name__ == "__main__":
    trust()
