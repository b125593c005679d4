"""Write a results folder's report.html anew, as every run does at its end.

vitrollout report results/photos
"""

import json
from pathlib import Path

import click

from pipeline.report.write_page import write_report


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.argument("out", type=click.Path(path_type=Path))
def report(out: Path) -> None:  # noqa: D103 - its help is the module's
    click.echo(json.dumps({"report": str(write_report(out))}))
