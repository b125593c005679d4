r"""Export the reviewed photos of a results folder as a data set for other people's tools.

RESULTS is the --out of a run. Labels and boxes are those of its reviews; --labels adds a CSV. A family of
photos, say of one board, stays on one side of the split: --group says how to tell families apart, and is asked once.

vitrollout export results/photos --format coco --out data --group '(board-\d+)'
vitrollout export results/photos --format yolo,florence2 --out data --photos link --replace
vitrollout export results/photos --format imagefolder --out data --labels labels.csv --group photo
"""

import json
import sys
from typing import Any

import click

from jobs.command_line.decorator import command
from jobs.command_line.exits import SOME_PHOTOS_FAILED, exit_if_stopped
from jobs.command_line.logs import log_format_option
from jobs.command_line.options import given_options, settings_options
from pipeline.export.config import ExportConfig


@command(__doc__)
@settings_options(ExportConfig, argument="results")
@log_format_option
def export_command(**options: Any) -> None:
    config = ExportConfig(**given_options(options))
    from pipeline.export.export import export  # imports pyarrow

    with exit_if_stopped() as interruption:
        result = export(config, stop=interruption.requested)
    formats = {name: written.as_json() for name, written in result.formats.items()}
    click.echo(json.dumps({"out": str(result.out), "failed": result.faults, "formats": formats}))
    sys.exit(SOME_PHOTOS_FAILED if result.faults else 0)
