"""Keys that must do nothing, text fields, the search of labels."""

import pytest

from tests.helpers.review_page import read_records

pytestmark = pytest.mark.browser


def test_a_held_key_decides_once(page, out):
    first = page.row
    page.tab.keyboard.down("Enter")
    for _ in range(10):
        page.tab.keyboard.down("Enter")
    page.tab.wait_for_function("row => document.getElementById('stage').dataset.painted !== row", arg=first)
    for _ in range(10):
        page.tab.keyboard.down("Enter")
    page.tab.keyboard.up("Enter")
    page.wait_until_saved()
    page.go("u")
    page.wait_until_saved()
    assert [record["verdict"] for record in read_records(out)] == ["confirmed", "unsure"]


def test_keys_with_control_alt_or_meta_do_nothing(page, out):
    for modifier in ("Control", "Alt", "Meta"):
        page.press(f"{modifier}+u", f"{modifier}+x", f"{modifier}+Enter")
    page.go("x")
    page.wait_until_saved()
    assert [record["verdict"] for record in read_records(out)] == ["rejected"]


def test_a_note_swallows_digits_and_goes_with_the_decision(page, out):
    page.press("c")
    page.tab.keyboard.type("1 scratch, 2 mm; zux")
    page.press("Enter")
    page.wait_for("#note", "1 scratch, 2 mm; zux")
    assert read_records(out) == []
    page.go("Enter")
    assert page.tab.locator("#note").is_hidden()
    page.press("c")
    page.tab.keyboard.type("dropped")
    page.press("Escape")
    page.go("Enter")
    page.wait_until_saved()
    assert [record["note"] for record in read_records(out)] == ["1 scratch, 2 mm; zux", None]
    page.go("ArrowLeft", "ArrowLeft")
    page.wait_for("#truth", "1 scratch")


def test_search_of_labels(page, out):
    page.press("l")
    page.tab.keyboard.type("pe")
    page.wait_for(".matches [aria-selected=true]", "open")
    page.go("Enter")
    page.wait_until_saved()
    assert read_records(out)[0]["label"] == "open"
    assert page.tab.locator("#panel").is_hidden()


def test_new_class(page, out, server):
    first = page.row
    page.press("l")
    page.tab.keyboard.type("burr 2")
    page.press("Enter")
    page.wait_for(".matches .new", "Enter once more")
    assert page.row == first
    page.go("Enter")
    page.wait_until_saved()
    assert read_records(out)[0]["label"] == "burr 2"
    added = server.start()["classes"][-1]
    assert added["name"] == "burr 2"
    page.wait_for("#labels", "burr 2")
    page.go(added["key"])
    page.wait_until_saved()
    assert read_records(out)[1]["label"] == "burr 2"


def test_a_click_on_a_label_decides_and_enter_still_means_the_photo(page, out):
    page.tab.click("#labels button >> text=open")
    page.wait_until_saved()
    page.wait_for("#figures", "1 of 12")
    page.wait_for_photo()
    page.go("Enter")
    page.wait_until_saved()
    assert [record["verdict"] for record in read_records(out)] == ["corrected", "confirmed"]


def test_zoom_and_pan_stay_from_photo_to_photo(page):
    page.tab.mouse.move(300, 500)
    before = page.tab.locator("#sheet").bounding_box()
    page.press("+", "+", "+")
    zoomed = page.tab.locator("#sheet").bounding_box()
    assert zoomed["width"] == pytest.approx(before["width"] * 1.25**3, rel=0.01)
    at = [(300 - box["x"]) / box["width"] for box in (before, zoomed)]
    assert at[0] == pytest.approx(at[1], abs=0.003)  # the point under the mouse stayed
    page.tab.mouse.down()
    page.tab.mouse.move(330, 520)
    page.tab.mouse.up()
    moved = page.tab.locator("#sheet").bounding_box()
    assert (moved["x"] - zoomed["x"], moved["y"] - zoomed["y"]) == pytest.approx((30, 20), abs=1)
    page.go("Enter")
    assert page.tab.locator("#sheet").bounding_box() == moved
    page.press("f")
    assert page.tab.locator("#sheet").bounding_box() == before


def test_heat_map_another_method_and_the_bare_photo(page):
    layer = page.tab.locator("#layer")
    page.press("m", "m")
    page.wait_for("#layer-name", "libragrad")
    page.tab.wait_for_selector("#layer:not([hidden])")
    page.tab.keyboard.down("h")
    assert not layer.is_visible()
    page.tab.keyboard.up("h")
    assert layer.is_visible()
    page.go("Enter")
    page.tab.wait_for_selector("#layer:not([hidden])")
    page.press("o")
    assert not layer.is_visible()


def test_panels_follow_the_photo(page):
    page.press("s")
    page.tab.wait_for_selector("#panel .cards li:nth-child(8)")
    page.press("t")
    page.wait_for("#panel", "Nothing has been reviewed")
    page.go("Enter")
    page.wait_until_saved()
    page.press("t", "t")
    page.tab.wait_for_selector("#panel .chooser")
    page.press("?")
    page.wait_for("#panel", "take the last decision back")
    page.press("Escape")
    assert page.tab.locator("#panel").is_hidden()
