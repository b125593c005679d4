"""Make a classifier from labelled photos.

vitrollout finetune photos/ --model facebook/dinov2-small --out models/mine
vitrollout finetune labels.csv --model models/mine --blocks 8 --train-blocks 4 --epochs 5 --out models/small
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
from pipeline.training.config import FinetuneConfig


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@settings_options(FinetuneConfig, argument="data")
def finetune(**options: Any) -> None:  # noqa: D103 - its help is the module's
    require_extra("train", "accelerate", "sklearn")
    config = FinetuneConfig(**given(options))
    # Threads that wait for each other must sleep. Spinning gains a tenth on an idle machine and costs four fifths
    # as soon as another program wants a core. Read when torch is imported, which is why that happens below.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from pipeline.training.finetune import finetune as train

    with Interruption() as interruption:
        try:
            result = train(config, stop=interruption.requested)
        except StoppedError as stopped:
            click.echo(f"vitrollout finetune: {stopped}", err=True)
            sys.exit(interruption.exit_code)
    summary = {
        "model": str(result.out),
        "classes": len(result.labels),
        "photos": {split: sum(per_label.values()) for split, per_label in result.counts.items()},
        "unreadable": result.unreadable,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
        **result.metrics,
    }
    click.echo(json.dumps(summary))


if __name__ == "__main__":
    finetune()
