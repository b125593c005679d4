"""Review a results folder in the browser: decide, correct, draw boxes.

Serves a page on this machine alone, and prints its address. Every decision is on the disk in OUT/reviews/ before the
page hears of it. Ctrl-C ends the review.

vitrollout review results/photos
vitrollout review results/photos --order suspects --labels labels.csv
vitrollout review results/photos --where "label==spur and score<0.8" --who anna --no-browser
"""

import json
import sys
from typing import Any

import click

from jobs.command_line.decorator import command
from jobs.command_line.extras import require_extra
from jobs.command_line.interruption import Interruption
from jobs.command_line.options import given_options, settings_options
from pipeline.review.config import ReviewConfig


@command(__doc__)
@settings_options(ReviewConfig, argument="out")
def review_command(**options: Any) -> None:
    require_extra("review", "starlette", "uvicorn")
    config = ReviewConfig(**given_options(options))
    with Interruption("ending the review") as interruption:
        from pipeline.review.serve import review

        outcome = review(config, announce=lambda url: _show(url, config.browser), stop=interruption.requested)
    click.echo(json.dumps(outcome.as_json()))
    sys.exit(interruption.exit_code)


def _show(url: str, in_browser: bool) -> None:
    """Print the address, and open it."""
    click.echo(f"Review at {url}\nCtrl-C ends it.", err=True)
    if in_browser:
        import webbrowser
        from threading import Thread

        Thread(target=webbrowser.open, args=(url,), daemon=True).start()  # text browsers would hold the server
