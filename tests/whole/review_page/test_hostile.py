"""Names that mean something elsewhere are text here, wherever they come from."""

import numpy as np
import pytest

from tests.helpers.photos import save_photos
from tests.helpers.review_page import new_review_page, read_records
from tests.helpers.review_server import photo_row, running_review_server
from tests.helpers.tables import write_run

pytestmark = pytest.mark.browser

PATHS = ["<img src=x onerror='window.pwned = 1'>.png", '%2e%2e%2f/"#?&.png', "a\nb.png", "javascript:alert(1).png"]
LABELS = ["<b onmouseover='window.pwned = 2'>ok</b>", "$crack_{1}$", "__proto__"]
NOTE = "<script>window.pwned = 3</script>\"'><svg onload='window.pwned = 4'>"


@pytest.fixture
def out(tmp_path):
    source = tmp_path / "photos"
    rows = []
    for number, (name, hostile) in enumerate(zip(save_photos(source, len(PATHS)), PATHS, strict=True)):
        (source / hostile).parent.mkdir(exist_ok=True)
        (source / name).rename(source / hostile)
        label = LABELS[number % 3]
        others = [each for each in LABELS if each != label]
        scores = np.array([0.5 + number / 10, 0.3, 0.1], np.float32)
        changes = {"label": label, "label_id": number % 3, "note": NOTE, "top_labels": [label, *others]}
        rows.append(photo_row(source, hostile, score=scores[0], top_scores=scores, **changes))
    write_run(tmp_path / "results", source, rows)
    return tmp_path / "results"


def test_nothing_runs_and_everything_is_shown_as_it_is(browser, out):
    options = ("--audit", "0", "--order", "margin", "--who", "<i>ann</i>")
    with running_review_server(out, *options) as server, new_review_page(browser, server.url) as page:
        names = [each["name"] for each in server.start()["classes"]]
        assert page.tab.locator("#labels .name").all_text_contents() == names
        assert set(LABELS) <= set(names)
        seen = []
        for key in ("Enter", "2", "Enter"):
            page.wait_for("#note", NOTE)
            seen.append(page.path)
            page.press("o", "b", "a", "b", "s", "t", "g", "Escape")
            page.wait_for_photo()
            page.press("c")
            page.tab.fill("#panel textarea", NOTE)
            page.press("Enter")
            page.go(key)
        page.go("ArrowLeft")
        page.wait_for("#truth", "<i>ann</i>: ")
        page.wait_for("#truth", NOTE)
        page.press("l")
        page.tab.keyboard.type("<img src=x onerror=alert(1)>")
        page.wait_for(".matches .new", "<img src=x")
        page.press("Enter", "Enter")
        page.wait_for("#labels", "<img src=x onerror=alert(1)>")
        page.wait_until_saved()
        assert page.tab.evaluate("window.pwned") is None
        assert page.tab.locator("b, i, script:not([type=module]), #labels img, #note img, #truth img").count() == 0
    assert seen == PATHS[:3]
    assert read_records(out)[0]["note"] == NOTE
