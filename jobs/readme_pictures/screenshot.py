"""Save the top of a page as a PNG, for the README.

python -m jobs.readme_pictures.screenshot results/sample_images/report.html docs/report.png
"""

from pathlib import Path

import click

from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error
from jobs.readme_pictures.browser import open_browser


@command(__doc__)
@click.argument("page", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def screenshot_command(page: Path, out: Path) -> None:
    with open_browser() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 860})
        tab.goto(page.resolve().as_uri(), wait_until="load")
        tab.wait_for_selector("#cards img")
        tab.wait_for_load_state("networkidle")
        tab.screenshot(path=out)


if __name__ == "__main__":
    with exit_on_error("screenshot"):
        screenshot_command()
