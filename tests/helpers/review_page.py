"""The page of `vitrollout review` in a browser, as a person with a keyboard and a mouse uses it."""

import json
import os
import re
import shutil
from contextlib import contextmanager

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
REFUSED = re.compile("Failed to load resource")  # the browser's own line about a server out of reach

_OTHER_PHOTO = (
    "before => { const now = document.getElementById('stage').dataset.painted; return now && now !== before; }"
)


class ReviewPage:
    """One tab.

    Attributes:
        tab: Playwright's page.
        said: lines on the console, and errors.
        asked: addresses of its requests.
    """

    def __init__(self, tab):
        self.tab, self.said, self.asked = tab, [], []
        tab.set_default_timeout(15_000)
        tab.on("console", lambda message: self.said.append(message.text))
        tab.on("pageerror", lambda error: self.said.append(str(error)))
        tab.on("request", lambda request: self.asked.append(request.url))

    def open(self, url):
        """Open an address, and wait for its first photo."""
        self.tab.goto(url)
        self.wait_for_photo()

    def wait_for_photo(self):
        self.tab.wait_for_selector("#stage[data-painted]")

    @property
    def row(self):
        """Row of the photo on the screen."""
        return self.tab.get_attribute("#stage", "data-painted")

    @property
    def path(self):
        return self.text("#folder") + self.text("#path")

    def text(self, selector):
        return self.tab.locator(selector).text_content()

    def press(self, *keys):
        """Press keys, one after the other, without waiting for anything."""
        for key in keys:
            self.tab.keyboard.press(key)

    def go(self, *keys):
        """Press keys; after each another photo comes up."""
        for key in keys:
            before = self.row
            self.tab.keyboard.press(key)
            self.tab.wait_for_function(_OTHER_PHOTO, arg=before)

    def finish(self, key):
        """Press a key for the last photo of the queue."""
        self.tab.keyboard.press(key)
        self.tab.wait_for_selector("#gone:not([hidden]):has-text('All photos')")

    def wait_for(self, selector, text):
        """Wait until an element has this text among its own."""
        self.tab.wait_for_selector(f"{selector}:has-text({json.dumps(text)})", state="attached")

    def wait_until_saved(self):
        self.wait_for("#unsent", "all saved")

    def position(self, x, y):
        """Return the place on the screen of a point of the photo, in pixels of the photo."""
        return tuple(
            self.tab.evaluate(
                """([x, y]) => {
                    const frame = document.getElementById("sheet").getBoundingClientRect();
                    const [, , width, height] = document.getElementById("boxes").getAttribute("viewBox").split(" ");
                    return [frame.left + x / width * frame.width, frame.top + y / height * frame.height];
                }""",
                [x, y],
            )
        )

    def drag(self, start, end):
        """Drag the mouse between two points of the photo."""
        self.tab.mouse.move(*self.position(*start))
        self.tab.mouse.down()
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.tab.mouse.move(*self.position(*middle))
        self.tab.mouse.move(*self.position(*end))
        self.tab.mouse.up()

    def check(self, *, may_fail=False):
        """Check that the console stayed silent and no other machine was asked; `may_fail`: requests were to fail."""
        said = [line for line in self.said if not (may_fail and REFUSED.search(line))]
        assert said == []
        assert [url for url in self.asked if not url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:"))] == []


@contextmanager
def new_review_page(browser, url, *, may_fail=False, **options):
    """Open the page in a browser profile of its own, and check its console at the end."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
    page = ReviewPage(context.new_page())
    page.open(url)
    yield page
    page.check(may_fail=may_fail)
    context.close()


def read_records(out):
    """Return the records of all sessions, in the order of their files and lines."""
    files = sorted((out / "reviews").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
