"""A server that stops, dies or has no room left: no decision is lost, none is doubled."""

import shutil
import signal

import pytest

from tests.helpers.review_page import ReviewPage, new_review_page, read_records
from tests.helpers.review_server import make_review_folder, running_review_server, start_review_server

pytestmark = pytest.mark.browser

OPTIONS = ("--audit", "0", "--order", "margin")


def test_server_that_stops_for_a_while(page, server, out):
    page.go("Enter", "ArrowRight", "ArrowLeft")  # the next photos are decoded
    page.wait_until_saved()
    server.process.send_signal(signal.SIGSTOP)
    page.go("Enter", "u", "Enter")
    page.tab.wait_for_selector("#unsent.late:has-text('3 unsaved')")
    server.process.send_signal(signal.SIGCONT)
    page.wait_until_saved()
    records = read_records(out)
    assert [record["verdict"] for record in records] == ["confirmed", "confirmed", "unsure", "confirmed"]
    assert len({record["path"] for record in records}) == 4


def test_server_killed_and_started_again(browser, out):
    server = start_review_server(out, *OPTIONS)
    with new_review_page(browser, server.url, may_fail=True) as page:
        page.go("Enter", "ArrowRight", "ArrowLeft")
        page.wait_until_saved()
        server.stop(signal.SIGKILL)
        page.go("Enter", "u", "x")
        page.tab.wait_for_selector("#unsent.late:has-text('3 unsaved. The server does not answer')")
        with running_review_server(out, *OPTIONS, "--port", str(server.port)) as second:
            page.wait_for("#unsent", "open the new address printed by vitrollout review")
            page.tab.on("dialog", lambda dialog: dialog.accept())  # leave, with three unsaved
            page.tab.goto(second.url)
            page.wait_for("#path", "photo-")
            page.wait_for_photo()
            page.wait_until_saved()
            page.go("u")
            page.wait_until_saved()
            assert page.tab.evaluate("localStorage.length") == 0
    records = read_records(out)
    assert [record["verdict"] for record in records] == ["confirmed", "confirmed", "unsure", "rejected", "unsure"]
    assert len({record["id"] for record in records}) == len({record["path"] for record in records}) == 5


def test_acknowledgement_lost_on_its_way(page, out):
    """The server has written the record, but its answer doesn't arrive: the same record is sent again."""
    lost = []

    def lose(route):
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().json()["id"])
            route.abort()

    page.tab.route("**/api/records", lose)
    page.go("Enter")
    page.wait_for("#unsent", "1 unsaved. The server does not answer")
    page.wait_until_saved()
    assert [record["id"] for record in read_records(out)] == lost
    page.said.clear()


def test_browser_closed_with_unsaved_decisions(browser, out):
    with running_review_server(out, *OPTIONS) as server:
        profile = browser.new_context()
        page = ReviewPage(profile.new_page())
        page.open(server.url)
        page.tab.route("**/api/records", lambda route: route.abort())
        page.go("Enter", "u")
        page.wait_for("#unsent", "2 unsaved")
        questions = []
        page.tab.on("dialog", lambda dialog: (questions.append(dialog.type), dialog.accept()))
        with page.tab.expect_event("close"):
            page.tab.close(run_before_unload=True)
        assert questions == ["beforeunload"]
        later = ReviewPage(profile.new_page())
        later.open(server.url)
        later.wait_until_saved()
        later.check()
        profile.close()
    assert [record["verdict"] for record in read_records(out)] == ["confirmed", "unsure"]


def test_record_refused_by_the_server(page, out):
    """The photo's row has gone: the page says so, and the photo comes back."""
    first = page.row
    page.tab.route(
        "**/api/records", lambda route: route.fulfill(status=409, json={"error": "no photo has this content"})
    )
    page.go("Enter")
    page.wait_for("#line", "Not saved: photo-0000.png: no photo has this content")
    page.wait_until_saved()
    page.go("ArrowLeft")
    assert page.row == first
    assert page.text("#truth") == ""
    page.said.clear()


def test_full_disk(browser, tmp_path, mount):
    made = make_review_folder(tmp_path / "made")
    disk = tmp_path / "disk"
    mount(disk, "4m")
    out = disk / "results"
    shutil.copytree(made, out)
    with running_review_server(out, *OPTIONS) as server, new_review_page(browser, server.url, may_fail=True) as page:
        decide_with_long_note(page, "Enter")
        page.wait_until_saved()
        fill_disk(disk / "filler")
        for key in ("Enter", "u", "x"):
            decide_with_long_note(page, key)
        page.tab.wait_for_selector("#unsent.late:has-text('3 unsaved')")
        page.wait_for("#unsent", "No space left")
        assert len(read_records(out)) == 1
        (disk / "filler").unlink()
        page.wait_until_saved()
    records = read_records(out)
    assert [record["verdict"] for record in records] == ["confirmed", "confirmed", "unsure", "rejected"]
    assert len({record["id"] for record in records}) == 4


def decide_with_long_note(page, key):
    """Two such records need a second page of the disk."""
    page.press("c")
    page.tab.fill("#panel textarea", "n" * 2000)
    page.press("Enter")
    page.go(key)


def fill_disk(filler):
    """Write until nothing more fits."""
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return
