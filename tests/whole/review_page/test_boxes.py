"""Boxes: drawn by mouse, accepted and moved by keys, always in upright pixels of the photo."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.helpers.image_files import with_orientation
from tests.helpers.review_page import new_review_page, read_records
from tests.helpers.review_server import make_review_folder, photo_row, running_review_server
from tests.helpers.tables import write_run

pytestmark = pytest.mark.browser

SIZE = (640, 420)
SQUARE = (201, 130, 351, 290)  # x0, y0, x1, y1; x1 and y1 are the first pixels outside


def square_photo():
    """Grey, with a red square."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
    x0, y0, x1, y1 = SQUARE
    pixels[y0:y1, x0:x1] = (255, 0, 0)
    return Image.fromarray(pixels)


@pytest.fixture
def squares(tmp_path):
    """A results folder of the square as PNG, and as JPEG in all eight orientations."""
    source = tmp_path / "photos"
    source.mkdir()
    photo = square_photo()
    photo.save(source / "0.png")
    for orientation in range(1, 9):
        (source / f"{orientation}.jpg").write_bytes(with_orientation(photo, "JPEG", orientation, quality=95))
    rows = [
        photo_row(source, file.name, width=SIZE[0], height=SIZE[1], map_box=[0.0, 0.0, *map(float, SIZE)])
        for file in sorted(source.iterdir())
    ]
    write_run(tmp_path / "results", source, rows)
    return tmp_path / "results"


def red_square_on_the_screen(page):
    """Where the browser has painted the red square: left, top, right, bottom."""
    pixels = np.asarray(Image.open(io.BytesIO(page.tab.screenshot())).convert("RGB")).astype(int)
    stage = page.tab.locator("#stage").bounding_box()
    pixels = pixels[: int(stage["y"] + stage["height"]), : int(stage["x"] + stage["width"])]
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 80) & (pixels[..., 2] < 80)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def draw_around_the_square(page):
    """Drag from corner to corner of what is red on the screen."""
    left, top, right, bottom = map(float, red_square_on_the_screen(page))
    mouse, keyboard = page.tab.mouse, page.tab.keyboard
    mouse.move(left, top)
    keyboard.down("Shift")
    mouse.down()
    mouse.move((left + right) / 2, (top + bottom) / 2)
    mouse.move(right, bottom)
    mouse.up()
    keyboard.up("Shift")


@pytest.mark.parametrize("how", ["plain", "zoomed", "resized"])
def test_drawn_box_is_the_square(browser, squares, how):
    options = ("--audit", "0", "--order", "margin")
    with running_review_server(squares, *options) as server, new_review_page(browser, server.url) as page:
        page.press("b")
        if how == "zoomed":
            page.tab.mouse.move(*page.position(276, 210))
            page.press("+", "+")
        elif how == "resized":
            page.tab.set_viewport_size({"width": 1571, "height": 903})
        for number in range(9):
            draw_around_the_square(page)
            page.wait_for("#box-line", "1 box")
            page.go("Enter") if number < 8 else page.finish("Enter")
        page.wait_until_saved()
    records = read_records(squares)
    assert len(records) == 9
    for record in records:
        (box,) = record["boxes"]
        assert [box[side] for side in ("x0", "y0", "x1", "y1")] == pytest.approx(SQUARE, abs=1), record["path"]
        assert (box["source"], record["how"], record["boxes_complete"]) == ("drawn", "box", True)


def test_twenty_photos_by_keyboard_from_seed_to_complete(browser, tmp_path):
    out = make_review_folder(tmp_path, 21)
    with running_review_server(out, "--audit", "0", "--order", "margin") as server:
        keys = {each["name"]: each["key"] for each in server.start()["classes"]}
        with new_review_page(browser, server.url) as page:
            page.press("b", keys["short"])
            for _ in range(20):
                page.wait_for("#box-line", "1 dashed")
                page.press("a", "Tab", "Shift+ArrowRight", "ArrowDown", "ArrowDown")
                page.wait_for("#box-line", "1 box.")
                page.go("Enter")
                page.press(keys["short"])
            page.wait_until_saved()
        seeds = server.get("/api/seeds/0").json()["boxes"]
    records = read_records(out)
    assert len({record["path"] for record in records}) == 20
    (seed,) = seeds
    moved = min(10, 48 - round(seed["x1"]))
    for record in records:
        (box,) = record["boxes"]
        assert (box["source"], box["label"], record["label"]) == ("edited", "short", "short")
        assert box["x0"] == round(seed["x0"]) + moved
        assert box["y0"] == round(seed["y0"]) + 2
        assert record["boxes_complete"]


@pytest.fixture
def page(browser, squares):
    """The first square, in box mode, its seed gone."""
    with running_review_server(squares, "--audit", "0", "--order", "margin") as server:
        with new_review_page(browser, server.url) as opened:
            opened.press("b")
            opened.wait_for("#box-line", "1 dashed")
            opened.press("Tab", "Delete")
            opened.wait_for("#box-line", "0 boxes. ")
            yield opened


def finish(page, squares):
    """Declare the boxes complete; return them as tuples, with label and source."""
    page.go("Enter")
    page.wait_until_saved()
    record = read_records(squares)[-1]
    return [tuple(box[name] for name in ("x0", "y0", "x1", "y1", "label", "source")) for box in record["boxes"]]


def test_move_resize_label_delete_and_undo(page, squares):
    page.drag((100, 100), (200, 180))
    page.drag((150, 140), (170, 150))  # moves it by 20, 10
    page.drag((220, 190), (260, 230))  # its lower right corner
    page.drag((300, 300), (400, 400))
    page.press("Delete")
    page.wait_for("#box-line", "1 box.")
    page.press("z")
    page.wait_for("#box-line", "2 boxes")
    page.press("1")  # labels the chosen one
    page.drag((10, 10), (60, 60))
    page.press("z", "Escape")
    label = page.tab.locator("#labels .name").first.text_content()
    first, second = finish(page, squares)
    assert first[:4] == pytest.approx((120, 110, 260, 230), abs=2)
    assert second[:4] == pytest.approx((300, 300, 400, 400), abs=2)
    assert (first[4], second[4]) == ("short", label)


def test_shift_drag_draws_over_a_box_and_all_are_clipped(page, squares):
    page.drag((100, 100), (300, 300))
    page.tab.keyboard.down("Shift")
    page.drag((150, 150), (200, 200))
    page.drag((560, 380), (700, 460))
    page.tab.keyboard.up("Shift")
    outer, inner, clipped = finish(page, squares)
    assert outer[:4] == pytest.approx((100, 100, 300, 300), abs=2)
    assert inner[:4] == pytest.approx((150, 150, 200, 200), abs=2)
    assert clipped[2:4] == SIZE


def test_a_defect_without_a_box_is_questioned_once(page, squares):
    before = page.row
    page.press("Enter")
    page.wait_for("#line", "no box")
    assert page.row == before
    assert finish(page, squares) == []


def test_a_new_box_by_keyboard_alone(page, squares):
    page.press("n", "r", "Shift+ArrowRight", "r", "ArrowLeft")
    ((x0, y0, x1, y1, label, source),) = finish(page, squares)
    assert x1 - x0 > 10 + (y1 - y0) * 0.5
    assert (label, source) == ("short", "drawn")


def test_boxes_of_an_earlier_decision_are_there_to_be_corrected(page, squares):
    page.drag((100, 100), (200, 180))
    finish(page, squares)
    page.go("ArrowLeft")
    page.wait_for("#box-line", "1 box.")
    page.wait_for("#truth", "1 box, complete")
    page.press("Tab", "ArrowRight")
    ((x0, *_),) = finish(page, squares)
    assert x0 == pytest.approx(101, abs=2)


def test_warning_where_only_maps_of_rollout_exist(browser, tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    square_photo().save(source / "0.png")
    write_run(tmp_path / "results", source, [photo_row(source, "0.png", width=640, height=420, more_maps=[])])
    with running_review_server(tmp_path / "results", "--audit", "0") as server:
        with new_review_page(browser, server.url) as page:
            page.press("b")
            page.wait_for("#box-line", "libragrad")
