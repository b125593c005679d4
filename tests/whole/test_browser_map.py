"""Unfamiliar photos and the map of the archive in a real browser, on the report of a small table."""

import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.report.write_page import write_report
from pipeline.results.names import thumbnail_name
from tests.helpers.tables import FAILED, make_row, write_run

playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
HOSTILE = "<img src=x onerror='window.pwned = 1'>"
LABELS = [*(f"label {number}" for number in range(9)), HOSTILE]
UNLIKE = "unlike the training photos"
OWN_DOING = re.compile("ERR_FILE_NOT_FOUND|willReadFrequently")  # the photos are not there; `colour_at` reads pixels


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


def make_rows():
    """Return 101 rows of ten labels in a grid of embeddings; photos 090 to 099 are unfamiliar, one failed."""
    rows = []
    for number in range(100):
        x, y = divmod(number, 10)
        rows.append(
            make_row(
                f"{number:03}.png", label=LABELS[y], score=number / 100, embedding=np.float32([1.5 * x, y]),
                unfamiliar=0.991 + x / 1000 if x == 9 else number / 200,
            )
        )  # fmt: skip
    return [*rows, make_row("failed.png", **FAILED | {"top_labels": None, "top_scores": None, "overlay": None})]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    write_run(folder / "out", folder / "photos", make_rows())
    name = folder / "out" / thumbnail_name("overlays/000.png.png")
    name.parent.mkdir(parents=True)
    Image.new("RGB", (96, 40)).save(name)
    write_report(folder / "out")
    return folder / "out"


@pytest.fixture
def page(browser, out):
    """The report. Afterwards: nothing was said on the console, and nothing was asked of another machine."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((out / "report.html").as_uri())
    opened.wait_for_selector("#map-canvas")
    yield opened
    assert opened.evaluate("window.pwned") is None
    opened.close()
    assert [text for text in said if not OWN_DOING.search(text)] == []
    assert [url for url in asked if not url.startswith(("file:///", "data:,"))] == []


def counts(page, text):
    playwright.expect(page.locator("#count")).to_have_text(text)


def position(page, number):
    """Return where a photo's point is drawn: the grid fills the canvas but for a margin, 13.5 wide and 9 high."""
    box = page.locator("#map-canvas").bounding_box()
    scale = min((box["width"] - 36) / 13.5, (box["height"] - 36) / 9)
    x, y = divmod(number, 10)
    return {"x": box["width"] / 2 + scale * (1.5 * x - 6.75), "y": box["height"] / 2 - scale * (y - 4.5)}


def colour_at(page, x, y):
    script = """([x, y]) => {
      const canvas = document.getElementById("map-canvas"), ratio = canvas.width / canvas.clientWidth;
      return [...canvas.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1).data];
    }"""
    return page.evaluate(script, [x, y])


@pytest.fixture
def oriented(page):
    """The page, with its map's axes the way `position` expects: photo 000 at the lower left."""
    page.locator("#map-canvas").hover(position=position(page, 0))
    playwright.expect(page.locator("#map-tip")).to_contain_text("000.png")
    return page


def test_badges(page):
    page.fill("[name=path]", "09")
    playwright.expect(page.locator("#cards .unlike")).to_have_count(10)
    assert page.locator("#cards .unlike").first.inner_text() == UNLIKE
    page.fill("[name=path]", "01")
    playwright.expect(page.locator("#cards .unlike")).to_have_count(0)


def test_filter_and_order(page):
    page.select_option("[name=familiar]", "unlike")
    counts(page, "10 of 101 photos")
    page.select_option("[name=familiar]", "like")
    counts(page, "90 of 101 photos")  # the failed one is neither
    page.click("text=Clear")
    page.select_option("[name=sort]", "-unfamiliar")
    assert {path[:2] for path in page.locator("#cards .path").all_inner_texts()[:10]} == {"09"}


def test_head_leads_to_unfamiliar_photos(page):
    assert page.inner_text("#unfamiliar") == "10 of 100 photos are unlike those that this model learned from."
    page.locator(".panels section", has_text="Unlike the training photos").get_by_role("button", name="Show").click()
    counts(page, "10 of 101 photos")
    page.locator("#cards button").first.click()
    playwright.expect(page.locator("#viewer-verdict .unlike")).to_have_text(UNLIKE)
    playwright.expect(page.locator("#viewer-facts")).to_contain_text("100.0% of training photos kept aside")


def test_banner(browser, tmp_path):
    rows = [make_row(f"{number}.png", unfamiliar=0.995 if number < 5 else 0.5) for number in range(8)]
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    write_report(tmp_path / "out")
    page = browser.new_page()
    page.goto((tmp_path / "out" / "report.html").as_uri())
    assert page.locator("#map").count() == 0
    banner = page.locator("header .verdict", has_text="62% of these photos are unlike those that this model learned")
    playwright.expect(banner).to_contain_text("its labels for them mean little.")
    banner.get_by_role("button", name="Show them").click()
    counts(page, "5 of 8 photos")
    page.close()


def test_point_shows_its_photo_and_opens_it(oriented):
    canvas, tip = oriented.locator("#map-canvas"), oriented.locator("#map-tip")
    playwright.expect(tip.locator("img")).to_have_js_property("naturalWidth", 96)
    canvas.hover(position=position(oriented, 93))
    playwright.expect(tip).to_contain_text("093.png")
    assert f"{LABELS[3]} 0.930" in tip.inner_text()
    assert UNLIKE in tip.inner_text()
    canvas.click(position=position(oriented, 42))
    playwright.expect(oriented.locator("#viewer-path")).to_have_text("042.png")
    oriented.keyboard.press("Escape")
    playwright.expect(canvas).to_be_focused()
    canvas.hover(position={"x": 5, "y": 5})
    playwright.expect(tip).to_be_hidden()


def test_names_on_the_map_are_text(oriented):
    oriented.locator("#map-canvas").hover(position=position(oriented, 9))
    playwright.expect(oriented.locator("#map-tip strong")).to_have_text(f"{HOSTILE} 0.090")
    assert oriented.locator("#map img[src=x]").count() == 0


def test_unfamiliar_points_differ_in_shape(oriented):
    """A circle is 4.5 px in radius; a triangle reaches 7 px up and 5 px down."""

    def is_drawn(number, right, down):
        at = position(oriented, number)
        return colour_at(oriented, at["x"] + right, at["y"] + down)[3] > 100

    assert [is_drawn(15, *shift) for shift in ((0, 0), (0, -6), (5, 4))] == [True, False, False]
    assert [is_drawn(95, *shift) for shift in ((0, 0), (0, -6), (5, 4))] == [True, True, True]


def test_legend_filters_gallery_and_map(oriented):
    legend = oriented.locator("#map-legend")
    assert legend.locator("button").all_inner_texts() == [
        *(f"{label} (10)" for label in sorted(LABELS)[1:9]), f"{UNLIKE} (10)"
    ]  # fmt: skip
    playwright.expect(legend).to_contain_text("other labels (20)")
    at = position(oriented, 15)
    entry = legend.locator("button", has_text="label 5")
    entry.click()
    counts(oriented, "10 of 101 photos")
    playwright.expect(entry).to_have_attribute("aria-pressed", "true")
    assert colour_at(oriented, **at)[3] > 200
    assert colour_at(oriented, **position(oriented, 16))[3] < 60  # dimmed
    oriented.locator("#map-canvas").click(position=at)
    oriented.keyboard.press("Escape")
    counts(oriented, "10 of 101 photos")  # opening a photo leaves the filters alone
    legend.locator("button", has_text=UNLIKE).click()
    counts(oriented, "1 of 101 photos")
    entry.click()
    counts(oriented, "10 of 101 photos")
    playwright.expect(entry).to_have_attribute("aria-pressed", "false")


def test_dimmed_point_opens_its_photo_too(oriented):
    oriented.select_option("[name=familiar]", "unlike")
    oriented.locator("#map-canvas").click(position=position(oriented, 42))
    playwright.expect(oriented.locator("#viewer-path")).to_have_text("042.png")


def test_map_by_keyboard(oriented):
    said = oriented.locator("#map-said")
    oriented.locator("#map-canvas").hover(position=position(oriented, 33))
    oriented.locator("#map-canvas").focus()
    for key, path in [("ArrowRight", "043"), ("ArrowUp", "044"), ("ArrowLeft", "034"), ("ArrowDown", "033")]:
        oriented.keyboard.press(key)
        playwright.expect(said).to_contain_text(f"{path}.png")
    assert said.text_content() == f"{LABELS[3]} 0.330, 033.png"
    for _ in range(3):
        oriented.keyboard.press("+")
    for number in range(3):
        oriented.keyboard.press("ArrowRight")  # beyond the part in view
        playwright.expect(said).to_contain_text(f"{number + 4:02}3.png")
    oriented.keyboard.press("Enter")
    playwright.expect(oriented.locator("#viewer-path")).to_have_text("063.png")
    oriented.keyboard.press("Escape")
    oriented.keyboard.press("ArrowRight")
    playwright.expect(said).to_contain_text("073.png")
    oriented.keyboard.press("Escape")
    playwright.expect(oriented.locator("#map-tip")).to_be_hidden()


def test_zoom_and_drag(oriented):
    box = oriented.locator("#map-canvas").bounding_box()
    middle = {"x": box["width"] / 2, "y": box["height"] / 2}
    oriented.click("[data-zoom='2']")
    shift = position(oriented, 55)
    oriented.locator("#map-canvas").hover(position={name: 2 * shift[name] - middle[name] for name in shift})
    playwright.expect(oriented.locator("#map-tip")).to_contain_text("055.png")
    oriented.mouse.move(box["x"] + middle["x"], box["y"] + middle["y"])
    oriented.mouse.down()
    oriented.mouse.move(box["x"] + middle["x"] + 60, box["y"] + middle["y"] + 40, steps=3)
    oriented.mouse.up()
    assert not oriented.locator("#viewer").is_visible()  # a drag is no click
    where = {"x": 2 * shift["x"] - middle["x"] + 60, "y": 2 * shift["y"] - middle["y"] + 40}
    oriented.locator("#map-canvas").hover(position=where)
    playwright.expect(oriented.locator("#map-tip")).to_contain_text("055.png")
    oriented.click("[data-zoom='0.5']")
    oriented.locator("#map-canvas").hover(position=shift)
    playwright.expect(oriented.locator("#map-tip")).to_contain_text("055.png")


def test_every_control_of_the_map_has_a_name(page):
    for control in page.locator("#map button").all():
        assert control.get_attribute("aria-label") or control.inner_text()
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    maps = [node for node in nodes if node.get("role", {}).get("value") == "application"]
    assert [node["name"]["value"] for node in maps] == ["Map of the photos"]


def test_map_on_a_phone_in_the_dark(browser, out):
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
    page.goto((out / "report.html").as_uri())
    page.wait_for_selector("#map-canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    at = position(page, 15)
    dark = colour_at(page, **at)
    page.emulate_media(color_scheme="light")
    canvas = page.locator("#map-canvas")
    playwright.expect(canvas).not_to_have_css("color", "rgb(230, 233, 237)")  # the ink of the dark page
    page.evaluate("new Promise(requestAnimationFrame)")
    assert sum(dark[:3]) > sum(colour_at(page, **at)[:3])
    canvas.tap(position=at)
    playwright.expect(page.locator("#viewer-path")).to_have_text("015.png")
    page.close()
