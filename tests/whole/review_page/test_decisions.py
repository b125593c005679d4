"""Decisions by key, and their way back."""

import pytest

import pipeline
from tests.helpers.review_page import new_review_page, read_records
from tests.helpers.review_server import make_review_folder, running_review_server

pytestmark = pytest.mark.browser


def test_enter_confirms_a_key_corrects_and_both_go_on(page, out, keys):
    model = [page.text("#shown")]
    page.go("Enter")
    model.append(page.text("#shown"))
    page.go("Space", keys["open"], "u")
    page.go("x")
    page.wait_until_saved()
    records = read_records(out)
    assert [record["verdict"] for record in records] == ["confirmed", "confirmed", "corrected", "unsure", "rejected"]
    assert [record["label"] for record in records[2:]] == ["open", None, None]
    assert all(record["label"] in shown for record, shown in zip(records, model, strict=False))
    assert all(0 <= record["seconds"] < 60 for record in records)
    assert len({record["path"] for record in records}) == 5


def test_five_hundred_decisions_as_fast_as_the_page_takes_them(browser, tmp_path):
    out = make_review_folder(tmp_path, 500)
    with running_review_server(out, "--audit", "0.1") as server:
        start = server.start()
        names, keys = zip(*((each["name"], each["key"]) for each in start["classes"]), strict=True)
        with new_review_page(browser, server.url) as page:
            for number in range(499):
                page.go(keys[number % 3])
            page.finish(keys[499 % 3])
            page.wait_until_saved()
    records = read_records(out)
    paths = pipeline.read_results(out).sort_values("path")["path"].tolist()
    assert [record["path"] for record in records] == [paths[row] for row in start["queue"]]
    assert [record["label"] for record in records] == [names[number % 3] for number in range(500)]
    assert len({record["id"] for record in records}) == 500


def test_undo_thrice_reload_and_once_more(page, out):
    rows = [page.row]
    for key in ("Enter", "u", "Enter", "x"):
        page.go(key)
        rows.append(page.row)
    page.go("z", "Control+z", "z")
    assert page.row == rows[1]
    page.wait_until_saved()
    page.tab.reload()
    page.wait_for_photo()
    assert page.row == rows[1]  # the first photo not decided
    page.go("z")
    assert page.row == rows[0]
    page.wait_until_saved()
    records = read_records(out)
    assert [record["verdict"] for record in records[4:]] == ["withdrawn"] * 4
    assert [record["replaces"] for record in records[4:]] == [[record["id"]] for record in records[3::-1]]
    assert [record["path"] for record in records[4:]] == [record["path"] for record in records[3::-1]]
    page.press("z")
    page.wait_for("#line", "nothing left to take back")


def test_undo_shows_the_earlier_answer_and_decides_again(page, out, keys):
    row = page.row
    page.go(keys["open"], "z")
    assert page.row == row
    page.go("x")
    page.wait_until_saved()
    assert [record["verdict"] for record in read_records(out)] == ["corrected", "withdrawn", "rejected"]


def test_arrows_move_without_deciding(page, out):
    first = page.row
    page.go("ArrowRight", "j")
    page.go("k", "ArrowLeft")
    assert page.row == first
    page.press("ArrowLeft")
    assert page.row == first
    page.go("Enter")
    page.go("ArrowLeft")
    assert page.row == first
    page.wait_for("#truth", "ann: ")
    page.go("u")
    page.wait_until_saved()
    before, after = read_records(out)
    assert after["replaces"] == [before["id"]]


def test_photos_passed_over_come_back_at_the_end(page, out):
    first = page.row
    page.go("ArrowRight")
    page.go(*["Enter"] * 11)
    assert page.row == first
    page.finish("Enter")
    page.wait_until_saved()
    assert len(read_records(out)) == 12
    page.press("z")
    page.wait_for_photo()
    assert page.row == first


def test_two_people_one_photo_and_a_third(browser, out):
    options = ("--audit", "0", "--order", "margin", "--who")
    with running_review_server(out, *options, "ann") as ann, running_review_server(out, *options, "bob") as bob:
        with new_review_page(browser, ann.url) as first, new_review_page(browser, bob.url) as second:
            second.tab.route("**/api/changes*", lambda route: None)  # bob hears of nothing
            row, path = first.row, first.path
            assert second.row == row
            first.go("Enter")
            second.go("x")
            first.wait_until_saved()
            second.wait_until_saved()
        records = read_records(out)
        assert sorted(record["who"] for record in records) == ["ann", "bob"]
    with running_review_server(out, "--order", "disputed", "--audit", "0", "--who", "carol") as carol:
        assert [carol.start()["rows"][0]["truth"]["state"], len(carol.start()["queue"])] == ["disputed", 1]
        with new_review_page(browser, carol.url) as third:
            assert third.path == path
            third.wait_for("#truth", "Disputed")
            assert {"ann", "bob"} <= set(third.text("#truth").replace(":", "").split())
            third.finish("Enter")
            third.wait_until_saved()
        truth = carol.get(f"/api/rows?rows={row}").json()["rows"][0]["truth"]
    assert truth["state"] == "reviewed"
    assert truth["who"] == ["carol"]


def test_photos_of_others_are_skipped_with_a_line(browser, page, out):
    with running_review_server(out, "--audit", "0", "--order", "margin", "--who", "bob") as bob:
        rows = bob.start()["rows"]
        bob.decide(rows[1], verdict="unsure")
        bob.decide(rows[2], verdict="unsure")
        with page.tab.expect_response(lambda answer: "/api/changes" in answer.url and len(answer.json()["rows"]) == 2):
            pass
        page.wait_for("#figures", "2 of 12")
        page.go("Enter")
        assert page.row == str(rows[3]["row"])
        page.wait_for("#line", "skipped 2 photos decided meanwhile by bob")


def test_blind_photo_shows_nothing_of_the_model(browser, out):
    with running_review_server(out, "--audit", "1", "--order", "audit") as server:
        keys = [each["key"] for each in server.start()["classes"]]
        with new_review_page(browser, server.url) as page:
            first = page.row
            page.wait_for("#shown", "Which label?")
            assert set(page.tab.locator("#labels .score").all_text_contents()) == {""}
            page.press("o", "m", "s", "Enter", "b", "b")
            page.wait_for("#line", "Which label?")
            assert page.row == first
            page.go(keys[2])
            page.wait_until_saved()
            assert not [
                url for url in page.asked if any(word in url for word in ("overlay", "map/", "seeds", "similar"))
            ]
    (record,) = read_records(out)
    assert record["blind"] is True
    assert record["verdict"] == "corrected"
