"""Classify a folder of photos, with an attention map of each.

Overlays and thumbnails often take several times the space of their photos. The log ends with their size; a smaller
--overlay-size takes less, and --overlays draws only some: vitrollout overlays draws the others later.

vitrollout run photos/ --out results/photos
vitrollout run photos/ --out results/photos --model google/vit-large-patch32-384
vitrollout run photos/ --out results/photos --model models/mine --overlay-size none --limit 1000
vitrollout run photos/ --out results/trial --sample 100
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
from pipeline.config import RunConfig
from pipeline.photos.decode import EXTENSIONS, HEIF_EXTENSIONS
from pipeline.results.names import OVERLAYS, REPORT_PAGE, TABLE
from pipeline.run import run
from pipeline.storage.files import exists
from pipeline.storage.location import Location

_PHOTOS = f"""
What counts as a photo: files with the extension {" ".join(sorted(EXTENSIONS))}, in upper or lower case, and
{" ".join(sorted(HEIF_EXTENSIONS))} with pip install 'vitrollout[heif]'. Hidden files, camera raw files, half downloads,
and folders of systems such as thumbnails and waste baskets are left out; the log and the run's record count them.
"""


@command(f"{__doc__}{_PHOTOS}")
@settings_options(RunConfig, argument="input")
@log_format_option
def run_command(**options: Any) -> None:
    config = RunConfig(**given_options(options))
    with Interruption() as interruption, logging_redirect_tqdm():
        summary = run(config, stop=interruption.requested)
    click.echo(json.dumps(asdict(summary) | _name_results(config.out)))
    sys.exit(interruption.exit_code or summary.exit_code)


def _name_results(out: Location) -> dict[str, str]:
    """Name what a run has left."""
    names = {"table": TABLE, "overlays": OVERLAYS, "report": REPORT_PAGE}
    return {key: str(out / name) for key, name in names.items() if exists(out / name)}
