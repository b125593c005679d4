"""A browser, a results folder, a server, and its page."""

import pytest

from tests.helpers.review_page import CHROMIUM, new_review_page
from tests.helpers.review_server import make_review_folder, running_review_server


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def out(tmp_path):
    """A results folder of 12 photos, labelled ok and short in turn, least certain first."""
    return make_review_folder(tmp_path)


@pytest.fixture
def server(out):
    with running_review_server(out, "--audit", "0", "--order", "margin", "--who", "ann") as running:
        yield running


@pytest.fixture
def page(browser, server):
    with new_review_page(browser, server.url) as opened:
        yield opened


@pytest.fixture
def keys(server):
    """The key of each class."""
    return {each["name"]: each["key"] for each in server.start()["classes"]}
