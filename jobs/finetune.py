"""Make a classifier from labelled photos.

vitrollout finetune photos/ --out models/mine
vitrollout finetune photos/ --model facebook/dinov2-small --group similar --minutes 60 --out models/mine
vitrollout finetune labels.csv --model models/mine --blocks 8 --train-blocks 4 --epochs 5 --out models/small
vitrollout finetune results/photos --model models/mine --group '(.+)_' --out models/next
vitrollout finetune boxes.csv --tile 112 --hard-negatives --model models/boards --out models/better
"""

import json
from typing import Any

import click

from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_if_stopped
from jobs.command_line.extras import require_extra
from jobs.command_line.options import given_options, settings_options
from jobs.command_line.threads import let_waiting_threads_sleep
from pipeline.training.config import FinetuneConfig


@command(__doc__)
@settings_options(FinetuneConfig, argument="data")
def finetune_command(**options: Any) -> None:
    require_extra("train", "sklearn", "matplotlib")
    config = FinetuneConfig(**given_options(options))
    let_waiting_threads_sleep()
    from pipeline.training.finetune import finetune  # imports torch

    with exit_if_stopped() as interruption:
        result = finetune(config, stop=interruption.requested)
    summary = {
        "model": str(result.out),
        "classes": len(result.labels),
        "photos": {split: sum(per_label.values()) for split, per_label in result.counts.items()},
        "unreadable": result.unreadable,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
        **result.metrics,
        "f1": result.f1,
        "untested": result.untested,
        "advice": result.advice,
    }
    click.echo(json.dumps(summary))
