"""Draw the overlays that a run has left out, from the rows of its table, without the model.

Pictures are those that the run would have drawn, unless another look is named. Photos changed since their row are left
out and counted: run again. Ctrl-C keeps what is drawn; the same command draws the rest.

vitrollout overlays results/photos
vitrollout overlays results/photos --where 'label == "short" and score < 0.8' --limit 500
vitrollout overlays results/photos --redraw --colormap viridis --overlay-size 2048
vitrollout overlays results/photos --redraw --scale 25
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
from pipeline.overlays.config import OverlaysConfig
from pipeline.results.names import REPORT_PAGE
from pipeline.storage.files import list_files


@command(__doc__)
@settings_options(OverlaysConfig, argument="out")
@log_format_option
def overlays_command(**options: Any) -> None:
    config = OverlaysConfig(**given_options(options))
    from pipeline.overlays.draw_rows import draw_overlays  # imports pyarrow

    with Interruption() as interruption, logging_redirect_tqdm():
        outcome = draw_overlays(config, stop=interruption.requested)
        has_report = any(file.name == REPORT_PAGE for file in list_files(config.out))
        if outcome.drawn and has_report and not interruption.requested():
            from pipeline.report.write_page import write_report  # imports pandas

            write_report(config.out)  # with the new pictures
    click.echo(json.dumps(asdict(outcome)))
    sys.exit(interruption.exit_code or outcome.exit_code)
