"""Measure a classifier on labelled photos.

vitrollout evaluate photos/ --model models/mine --out evaluation
vitrollout evaluate labels.csv --model models/mine --positive open,short --recall 0.995
vitrollout evaluate models/mine/split.csv --model models/mine --positive open,short --recall 0.99 --save-decision
vitrollout evaluate results/photos --model models/next --against models/mine
vitrollout evaluate boxes.csv --tile 112 --detect-from 0.9
"""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from jobs.command_line.decorator import command
from jobs.command_line.exits import SOME_PHOTOS_FAILED, exit_if_stopped
from jobs.command_line.extras import require_extra
from jobs.command_line.options import given_options, settings_options
from jobs.command_line.threads import let_waiting_threads_sleep
from pipeline.evaluation.config import EvaluateConfig

if TYPE_CHECKING:
    from pipeline.intervals import Estimate


@command(__doc__)
@settings_options(EvaluateConfig, argument="data")
def evaluate_command(**options: Any) -> None:
    require_extra("train", "sklearn", "matplotlib")
    config = EvaluateConfig(**given_options(options))
    let_waiting_threads_sleep()
    from pipeline.evaluation.evaluate import evaluate  # imports torch

    with exit_if_stopped() as interruption:
        evaluation = evaluate(config, stop=interruption.requested)
    summary = {
        "photos": len(evaluation.truth),
        "failed": evaluation.failed,
        "split": evaluation.split,
        **_round_values(evaluation.metrics),
        "any_defect": _round_values(evaluation.defects),
        "threshold": evaluation.threshold and evaluation.threshold.threshold,
        "detection": evaluation.detections and _round_values(evaluation.detections.metrics),
        "decision": evaluation.band and evaluation.band.as_json(),
        "comparison": evaluation.comparison and evaluation.comparison.as_json(),
        "metrics": str(config.out / "metrics.json"),
        "predictions": str(config.out / "predictions.parquet"),
        "figure": str(config.out / "figure.png"),
    }
    click.echo(json.dumps(summary))
    sys.exit(SOME_PHOTOS_FAILED if evaluation.failed else 0)


def _round_values(estimates: "Mapping[str, Estimate]") -> dict[str, float | None]:
    """Round metrics to four digits; None if undefined on these photos."""
    values = {name: estimate.as_json()["value"] for name, estimate in estimates.items()}
    return {name: None if value is None else round(value, 4) for name, value in values.items()}
