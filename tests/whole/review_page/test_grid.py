"""The grid: many photos confirmed at once."""

import pytest

from tests.helpers.review_page import new_review_page, read_records
from tests.helpers.review_server import make_review_folder, running_review_server

pytestmark = pytest.mark.browser


@pytest.fixture
def out(tmp_path):
    """A results folder of 60 photos, half of them labelled short."""
    return make_review_folder(tmp_path, 60)


def open_grid(page, key="g", label=""):
    page.press(key)
    page.wait_for("#grid h2", label)
    page.tab.wait_for_function(
        "() => [...document.querySelectorAll('#grid img')].length > 0"
        " && [...document.querySelectorAll('#grid img')].every((image) => image.complete && image.naturalWidth)"
    )


def test_mark_the_wrong_ones_and_confirm_the_rest(page, out, keys):
    open_grid(page)
    open_grid(page, keys["short"], "short")
    paths = page.tab.locator("#grid button").evaluate_all("buttons => buttons.map((button) => button.title)")
    assert len(paths) == 24
    page.press("ArrowRight", "ArrowDown", "x")
    page.tab.locator("#grid button").nth(20).click()
    page.tab.locator("#grid button").nth(3).click()
    page.tab.locator("#grid button").nth(3).click()  # right after all
    assert page.tab.locator("#grid .wrong").count() == 2
    page.wait_for("#grid-hint", "22 are short")
    page.press("Enter", "Enter")  # the second one comes before the next photos have
    page.wait_for("#grid-hint", "6 are short")
    page.wait_until_saved()
    wrong = [paths[7], paths[20]]
    records = read_records(out)
    assert [record["path"] for record in records] == [path for path in paths if path not in wrong]
    assert {(record["label"], record["how"], record["verdict"]) for record in records} == {
        ("short", "grid", "confirmed")
    }
    page.press("Escape")
    page.wait_for_photo()
    page.go("Enter")
    seen = [page.path]
    page.go("u")
    seen.append(page.path)
    assert seen == wrong


def test_undo_out_of_the_grid(page, out, keys):
    open_grid(page)
    page.press("Enter")
    page.wait_for("#line", "24 confirmed")
    page.press("z")
    page.wait_for("#line", "Taken back")
    assert page.tab.locator("#grid").is_hidden()
    page.wait_until_saved()
    records = read_records(out)
    assert [record["verdict"] for record in records] == ["confirmed"] * 24 + ["withdrawn"]
    assert page.path == records[-1]["path"]


def test_blind_photos_are_not_in_the_grid(browser, out):
    with running_review_server(out, "--audit", "0.5") as server:
        blind = {row["path"] for row in server.start()["rows"] if row["blind"]}
        assert blind
        with new_review_page(browser, server.url) as page:
            open_grid(page)
            shown = page.tab.locator("#grid button").evaluate_all("buttons => buttons.map((button) => button.title)")
            assert not blind & set(shown)
