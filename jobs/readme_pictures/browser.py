"""A headless Chromium, to draw and to measure the report."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobs.command_line.extras import require_extra


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start the browser named by CHROMIUM, or the installed one; yield playwright's `Browser`.

    Raises:
        ConfigError: playwright is missing; the message names the extra to install.
    """
    require_extra("browser", "playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
        yield browser
        browser.close()
