"""Measure a classifier on labelled photos.

vitrollout evaluate photos/ --model models/mine --out evaluation
vitrollout evaluate labels.csv --model models/mine --positive open,short --recall 0.995
"""

import json
import os
import sys
from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING, Any

import click

from jobs.command_line.extras import require_extra
from jobs.command_line.interruption import Interruption
from jobs.command_line.options import given, settings_options
from pipeline.errors import StoppedError
from pipeline.evaluation.config import EvaluateConfig

if TYPE_CHECKING:  # scikit-learn takes seconds to import
    from pipeline.intervals import Estimate

_FAILED_PHOTOS = 3


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@settings_options(EvaluateConfig, argument="data")
def evaluate(**options: Any) -> None:  # noqa: D103 - its help is the module's
    require_extra("train", "sklearn", "matplotlib")
    config = EvaluateConfig(**given(options))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see jobs/finetune.py
    from pipeline.evaluation.evaluate import evaluate as measure

    with Interruption() as interruption:
        try:
            found = measure(config, stop=interruption.requested)
        except StoppedError as stopped:
            click.echo(f"vitrollout evaluate: {stopped}", err=True)
            sys.exit(interruption.exit_code)
    summary = {
        "photos": len(found.truth),
        "failed": found.failed,
        "split": found.split,
        **_values(found.metrics),
        "any_defect": _values(found.defects),
        "threshold": found.threshold and found.threshold.threshold,
        "metrics": str(config.out / "metrics.json"),
        "predictions": str(config.out / "predictions.parquet"),
        "figure": str(config.out / "figure.png"),
    }
    click.echo(json.dumps(summary))
    sys.exit(_FAILED_PHOTOS if found.failed else 0)


def _values(estimates: "Mapping[str, Estimate]") -> dict[str, float | None]:
    """JSON knows no NaN, which stands for a metric that is not defined on these photos."""
    return {name: None if isnan(it.value) else round(it.value, 4) for name, it in estimates.items()}


if __name__ == "__main__":
    evaluate()
