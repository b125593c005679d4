"""The report of a real run in a real browser, opened from the disk."""

import os
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.report.write_page import write_report
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos
from tests.helpers.reviews import make_review, write_reviews
from tests.helpers.tables import make_row, write_run

playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
HOSTILE = ["<img src=x onerror='window.pwned = 1'>.png", '%2e%2e%2f/"#?&.png', "a\nb.png"]
LABELS = {0: "<b onmouseover='window.pwned = 2'>ok</b>", 1: "$crack_{1}$", 2: "hole"}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two runs of a tiny model over 120 photos, some with names that mean something elsewhere, one broken."""
    folder = tmp_path_factory.mktemp("report")
    model = save_tiny_vit(folder / "model")
    config = (model / "config.json").read_text()
    for number, label in LABELS.items():
        config = config.replace(f'"class-{number}"', '"' + label + '"')
    (model / "config.json").write_text(config)
    photos = folder / "photos"
    names = save_photos(photos, 117)
    for name, hostile in zip(names, HOSTILE, strict=False):
        (photos / hostile).parent.mkdir(exist_ok=True)
        (photos / name).rename(photos / hostile)
    (photos / "broken.png").write_bytes(b"no image")
    settings = {"input": photos, "out": folder / "out", "model": str(model)}
    pipeline.run(pipeline.RunConfig(**settings))
    save_photos(photos / "later", 3, seed=5)
    pipeline.run(pipeline.RunConfig(**settings))
    review_photos(folder / "out")
    write_report(folder / "out")
    return folder / "out"


def review_photos(out):
    """Review the first four photos: one confirmed, one corrected, one disputed, one unsure."""
    rows = pipeline.read_results(out, ["path", "content_hash", "label"]).iloc[:4]
    reviews = [
        make_review(row.path, answer, content_hash=row.content_hash)
        for row, answer in zip(rows.itertuples(), [rows["label"][0], "hole?", HOSTILE[0], None], strict=True)
    ]
    write_reviews(out, reviews)
    write_reviews(out, [make_review(rows["path"][2], "ok", who="Ben", content_hash=rows["content_hash"][2])], "Ben")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, out):
    """The report. Afterwards: nothing was said on the console, and nothing was asked of another machine."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((out / "report.html").as_uri())
    opened.wait_for_selector("#cards li")
    yield opened
    assert opened.evaluate("window.pwned") is None
    opened.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:///", "data:,"))] == []


def paths_of(page):
    return page.locator("#cards .path").all_inner_texts()


def counts(page, text):
    playwright.expect(page.locator("#count")).to_have_text(text)


def expected(frame, count=48):
    return [" ".join(path.split()) for path in frame["path"][:count]]


@pytest.fixture(scope="module")
def frame(out):
    return pipeline.read_results(out)


def test_first_page_shows_photos_with_labels_and_pictures(page, frame):
    counts(page, "121 photos")
    assert paths_of(page) == expected(frame)
    card = page.locator("#cards button", has_text="photo-0003.png")
    row = frame[frame["path"] == "photo-0003.png"].iloc[0]
    assert row["label"] in card.inner_text()
    assert f"{row['score']:.3f}" in card.inner_text()
    image = card.locator("img")
    image.scroll_into_view_if_needed()
    playwright.expect(image).to_have_js_property("naturalWidth", 96)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_is_text_and_its_pictures_show(page, name):
    page.fill("[name=path]", name.replace("\n", "")[:12] if "\n" not in name else "b.png")
    card = page.locator("#cards button", has_text=" ".join(name.split()))
    card.click()
    page.wait_for_selector("#viewer[open]")
    assert page.locator("#viewer-path").text_content() == name
    overlay = page.locator("#viewer-overlay")
    playwright.expect(overlay).to_have_js_property("naturalWidth", 48)
    # the photo itself, not the thumbnail that stands in for it
    playwright.expect(page.locator("#viewer-photo")).not_to_have_css("background-image", re.compile("thumbnails"))
    assert page.locator("#viewer b, #cards b").count() == 0


def test_labels_are_text(page):
    options = page.locator("[name=label] option").all_inner_texts()
    assert {re.sub(r" \(\d+\)$", "", option) for option in options} <= {"all", *LABELS.values()}
    assert page.locator("b").count() == 0


def test_filters(page, frame):
    ok = frame[frame["status"] == "ok"]
    page.select_option("[name=status]", "failed")
    assert paths_of(page) == ["broken.png"]
    assert page.locator("#cards .label").inner_text() == "failed"
    counts(page, "1 of 121 photos")
    page.click("text=Clear")
    counts(page, "121 photos")

    label = ok["label"].mode()[0]
    page.select_option("[name=label]", index=1)  # the most frequent
    counts(page, f"{(ok['label'] == label).sum()} of 121 photos")
    page.fill("[name=lowest]", "0.6")
    page.fill("[name=highest]", "0.9")
    found = ok[(ok["label"] == label) & ok["score"].between(0.6, 0.9)]
    counts(page, f"{len(found)} of 121 photos")
    assert paths_of(page) == expected(found)
    page.click("text=Clear")

    page.select_option("[name=run]", index=1)  # the newest
    counts(page, "3 of 121 photos")
    assert paths_of(page) == [f"later/photo-000{number}.png" for number in range(3)]
    page.click("text=Clear")
    page.fill("[name=path]", "PHOTO-0042")
    counts(page, "1 of 121 photos")
    page.fill("[name=path]", "no such photo")
    counts(page, "0 of 121 photos")


def test_filter_of_reviews(page, frame):
    """Of the fixture: photo 0 agrees, 1 disagrees, 2 is disputed, 3 unsure."""
    for value, count in [("reviewed", 2), ("disagrees", 1), ("disputed", 1), ("unsure", 1), ("none", len(frame) - 4)]:
        page.select_option("[name=review]", value)
        counts(page, f"{count} of {len(frame)} photos")
    page.select_option("[name=review]", "disputed")
    page.locator("#cards button").first.click()
    playwright.expect(page.locator("#viewer-facts")).to_contain_text(f"{HOSTILE[0]}, by Ann; ok, by Ben")


@pytest.mark.parametrize("descending", [False, True])
def test_sort_by_score(page, frame, descending):
    page.select_option("[name=sort]", "-score" if descending else "score")
    shown = [float(text) for text in page.locator("#cards .label span:nth-child(2)").all_inner_texts()]
    scores = frame["score"].dropna().sort_values(ascending=not descending)[:48]
    assert shown == pytest.approx(scores.to_list(), abs=6e-4)


def test_pages(page, frame):
    assert page.locator("text=Previous page").is_disabled()
    page.click("text=Next page")
    page.click("text=Next page")
    assert page.locator("#page").inner_text() == "Page 3 of 3"
    assert page.locator("text=Next page").is_disabled()
    assert paths_of(page) == expected(frame[96:])


def test_by_keyboard(page, frame):
    page.locator("#cards button").nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open]")
    title = page.locator("#viewer-path")
    assert title.text_content() == frame["path"][1]
    for place in (2, 3):
        page.keyboard.press("ArrowRight")
        playwright.expect(title).to_have_text(frame["path"][place])
    page.keyboard.press("ArrowLeft")
    playwright.expect(title).to_have_text(frame["path"][2])
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    playwright.expect(page.locator(":focus")).to_have_attribute("data-place", "2")


def test_viewer_goes_on_over_the_end_of_a_page(page, frame):
    page.locator("#cards button").nth(47).click()
    page.keyboard.press("ArrowRight")
    playwright.expect(page.locator("#viewer-path")).to_have_text(frame["path"][48])
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#page")).to_have_text("Page 2 of 3")


def test_wipe(page):
    page.click("#cards button >> text=photo-0005.png")
    photo, overlay = page.locator("#viewer-photo"), page.locator("#viewer-overlay")
    page.wait_for_selector("#viewer[open]")
    left, right = photo.bounding_box(), overlay.bounding_box()
    assert left["x"] + left["width"] <= right["x"]  # side by side
    page.click("text=Side by side")
    assert photo.bounding_box() == overlay.bounding_box()

    def covered():
        inset = re.search(
            r"inset\(0px ([\d.]+)(%|px)", photo.evaluate("photo => getComputedStyle(photo).clipPath") + " "
        )
        return inset[1]

    assert float(covered()) == 50
    page.focus("#wipe")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert float(covered()) == 40
    assert page.locator("#viewer-path").text_content() == "photo-0005.png"  # the arrows were the slider's
    page.keyboard.press("End")
    assert float(covered()) == 0


def test_top_labels_of_the_viewer(page, frame):
    row = frame[frame["path"] == "photo-0007.png"].iloc[0]
    page.click("#cards button >> text=photo-0007.png")
    page.wait_for_selector("#viewer[open]")
    assert page.locator("#viewer-top th").all_inner_texts() == list(row["top_labels"])
    shown = [float(text) for text in page.locator("#viewer-top td:nth-child(3)").all_inner_texts()]
    assert shown == pytest.approx(row["top_scores"].tolist(), abs=6e-4)
    assert "48 × 40 pixels" in page.locator("#viewer-facts").inner_text()


def test_photo_that_failed(page):
    page.click("text=Show them")
    page.click("#cards button")
    playwright.expect(page.locator("#viewer-verdict")).to_contain_text("not")
    assert not page.locator("#viewer-overlay").is_visible()


def test_buttons_of_the_head_lead_to_the_photos(page, frame):
    low = frame[frame["score"] < 0.7].sort_values("score", kind="stable")
    page.click(f"text=Show the {len(low)} below 0.7")
    counts(page, f"{len(low)} of 121 photos")
    assert paths_of(page) == expected(low)
    page.locator(".examples button").nth(1).click()
    playwright.expect(page.locator("#viewer-path")).to_have_text(low["path"].iloc[1])


CONTROLS = {
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "spinbutton",
    "slider",
    "checkbox",
    "region",
    "dialog",
}


def test_every_control_has_a_name(page):
    page.click("#cards button >> text=photo-0005.png")
    page.wait_for_selector("#viewer[open]")
    page.click("text=Side by side")
    session = page.context.new_cdp_session(page)

    def nameless():
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        controls = [node for node in nodes if node.get("role", {}).get("value") in CONTROLS and not node.get("ignored")]
        assert len(controls) >= 6
        return [node for node in controls if not node.get("name", {}).get("value")]

    assert nameless() == []
    page.keyboard.press("Escape")
    assert nameless() == []
    images = page.locator("img:not([alt])")
    assert images.count() == 0


def test_phone_and_dark(browser, out):
    opened = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    opened.goto((out / "report.html").as_uri())
    opened.wait_for_selector("#cards li")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(opened.evaluate(background)) < 60
    opened.click("#cards button >> text=photo-0005.png")
    opened.wait_for_selector("#viewer[open]")
    assert opened.evaluate("document.getElementById('viewer').scrollWidth") <= 390
    opened.emulate_media(color_scheme="light")
    assert min(opened.evaluate(background)) > 200
    opened.close()


def test_photos_that_have_moved_show_their_thumbnails(browser, out, tmp_path):
    shutil.copytree(out, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "report")
    (out.parent / "photos").rename(tmp_path / "elsewhere")
    try:
        write_report(tmp_path / "copy")
        opened = browser.new_page()
        opened.goto((tmp_path / "copy" / "report.html").as_uri())
        opened.click("#cards button >> text=photo-0005.png")
        opened.wait_for_selector("#viewer[open]")
        assert "thumbnails" in opened.evaluate("document.getElementById('viewer-photo').style.backgroundImage")
        opened.close()
    finally:
        (tmp_path / "elsewhere").rename(out.parent / "photos")


def test_page_that_was_left_open_while_the_report_was_written_anew(browser, tmp_path):
    (tmp_path / "photos").mkdir()
    write_run(
        tmp_path / "out", tmp_path / "photos", [make_row(f"{number:03}.png", overlay=None) for number in range(300)]
    )
    write_report(tmp_path / "out")
    opened = browser.new_page()
    opened.goto((tmp_path / "out" / "report.html").as_uri())
    opened.wait_for_selector("#cards li")
    write_report(tmp_path / "out")
    opened.fill("[name=path]", "299")
    playwright.expect(opened.locator("#count")).to_contain_text("reload the page")
    opened.close()


def test_hundred_thousand_rows_load_only_what_is_shown(browser, tmp_path):
    count = 100_000
    (tmp_path / "photos").mkdir()
    write_run(tmp_path / "out", tmp_path / "photos", [make_row("a.png", overlay=None)])
    part = next((tmp_path / "out" / "table").iterdir())
    table = pq.read_table(part).take(np.zeros(count, int))
    paths = pa.array([f"line {number % 7}/photo-{number:06}.png" for number in range(count)])
    scores = pa.array([number * 7919 % count / count for number in range(count)], pa.float32())
    for name, values in (("path", paths), ("score", scores)):
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    pq.write_table(table, part)
    write_report(tmp_path / "out")
    opened = browser.new_page()
    asked = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((tmp_path / "out" / "report.html").as_uri())
    opened.wait_for_selector("#cards li")
    counts(opened, "100,000 photos")
    assert opened.locator("#cards li").count() == 48
    assert len([url for url in asked if "/rows-" in url]) == 1
    opened.select_option("[name=sort]", "score")
    shown = [float(text) for text in opened.locator("#cards .label span:nth-child(2)").all_inner_texts()]
    assert shown == sorted(shown)
    assert max(shown) <= 0.001
    opened.fill("[name=path]", "photo-0999")
    counts(opened, "100 of 100,000 photos")
    opened.close()


def test_gallery_of_a_large_table(browser, tmp_path):
    rows = [make_row(f"{number:03}.png", score=number / 100, overlay=None) for number in range(100)]
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    write_report(tmp_path / "out", most_shown=60)
    opened = browser.new_page()
    opened.goto((tmp_path / "out" / "report.html").as_uri())
    shown, least_sure = re.search(
        r"The gallery shows (\d+) of 100 photos: (6) least sure, \d+ others", opened.inner_text("#choice")
    ).groups()
    counts(opened, f"{shown} photos in the gallery")
    opened.click("text=Show some of the 70 below 0.7")
    assert paths_of(opened)[:6] == [f"{number:03}.png" for number in range(6)]
    opened.fill("[name=highest]", "0.05")
    counts(opened, f"{least_sure} of {shown} photos in the gallery")
    opened.locator(".examples button").first.click()
    playwright.expect(opened.locator("#viewer-path")).to_have_text("000.png")
    opened.close()
