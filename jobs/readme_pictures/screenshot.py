"""The top of a page as a PNG, for the README.

python -m jobs.readme_pictures.screenshot results/sample_images/report.html docs/report.png
"""

import os
import shutil
from pathlib import Path

import click


@click.command(help=__doc__)
@click.argument("page", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def screenshot(page: Path, out: Path) -> None:  # noqa: D103 - its help is the module's
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
        opened = browser.new_page(viewport={"width": 1280, "height": 860})
        opened.goto(page.resolve().as_uri(), wait_until="load")
        opened.wait_for_selector("#cards img")
        opened.wait_for_load_state("networkidle")
        opened.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    screenshot()
