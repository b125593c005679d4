"""Save the review's page as a PNG, for the README: a photo of a results folder with its proposed boxes.

The arguments are a results folder, the PNG to write, and the path of the photo. The review takes place in a copy.

python -m jobs.readme_pictures.review_page results/sample_images docs/review.png board-6108.png
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error
from jobs.readme_pictures.browser import open_browser


@command(__doc__)
@click.argument("results", type=click.Path(exists=True, path_type=Path))
@click.argument("picture", type=click.Path(path_type=Path))
@click.argument("photo")
def review_page_command(results: Path, picture: Path, photo: str) -> None:
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        out = Path(folder) / results.name
        shutil.copytree(results, out, ignore=shutil.ignore_patterns("reviews"))
        with _serve_page(out) as url:
            tab = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
            tab.goto(url)
            tab.wait_for_selector("#stage[data-painted]")
            for key in ("Enter", "u", "Enter"):
                tab.keyboard.press(key)
                tab.wait_for_selector("#stage[data-painted]")
            while tab.text_content("#path") != photo:
                tab.keyboard.press("ArrowRight")
                tab.wait_for_selector("#stage[data-painted]")
            tab.keyboard.press("b")
            tab.wait_for_selector("#boxes .seed")
            tab.keyboard.press("Tab")
            tab.wait_for_selector("#unsent:has-text('all saved')")
            tab.screenshot(path=picture)


@contextmanager
def _serve_page(out: Path) -> Iterator[str]:
    """Start a review without blind photos; yield its address."""
    words = [sys.executable, "-m", "jobs.cli", "review", str(out), "--no-browser", "--audit", "0"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield next(found[0] for line in process.stderr or () if (found := re.search(r"http://\S+", line)))
        finally:
            process.terminate()


if __name__ == "__main__":
    with exit_on_error("review_page"):
        review_page_command()
