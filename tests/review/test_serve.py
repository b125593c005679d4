"""The command `vitrollout review` as a process of its own, spoken to over HTTP."""

import io
import os
import re
import resource
import signal
import socket
import subprocess

import pytest
from PIL import Image

from pipeline.results.names import part_files
from pipeline.reviews.files import session_files
from pipeline.reviews.read import read_reviews
from tests.helpers.commands import FRESH_COMMAND, run_vitrollout
from tests.helpers.disks import small_disks
from tests.helpers.image_files import encoded, looks_like_quadrants, quadrants, with_orientation
from tests.helpers.review_server import (
    TIMEOUT,
    make_review_folder,
    photo_row,
    running_review_server,
    start_review_server,
)
from tests.helpers.tables import FAILED, flip_a_bit, make_row, write_run

HOSTILE = ["<img src=x onerror=alert(1)>.png", "'\"><script>x</script>.png", "a\nb.png", "../x.png", "\u202eexe.png"]


@pytest.fixture
def out(tmp_path):
    return make_review_folder(tmp_path)


def run_review(*arguments):
    """Run the command to its end; return exit code, stdout and stderr."""
    done = run_vitrollout("review", "--no-browser", *arguments)
    return done.returncode, done.stdout, done.stderr


def test_a_review_from_start_to_end(out):
    with running_review_server(out, "--who", "anna", "--audit", 0, "--classes", "burr", "--no-boxes") as server:
        start = server.start()
        assert (start["who"], start["name"], start["order"], start["boxes"]) == ("anna", "results", "mixed", False)
        assert (start["done"], start["undo"], start["limit"], start["warnings"]) == (0, [], None, [])
        assert [each["name"] for each in start["classes"]] == ["ok", "short", "open", "burr"]
        assert len(start["queue"]) == len(start["audit"]) == len(start["rows"]) == 12
        assert [row["row"] for row in start["rows"]] == start["queue"]
        first, second, third = start["rows"][:3]
        assert server.get(f"/api/photo/{first['row']}").headers["etag"].startswith(f'"{first["content_hash"]}-')
        assert server.get(f"/api/seeds/{first['row']}").json()["method"] == "libragrad"
        assert len(server.get(f"/api/similar/{first['row']}").json()["rows"]) == 8
        box = {"x0": 1, "y0": 2, "x1": 10, "y1": 12, "label": "burr", "source": "drawn", "note": None}
        boxed = server.decide(first, "burr", boxes=[box], boxes_complete=True, how="box").json()
        assert boxed["row"]["truth"]["boxes"] == [box]
        server.decide(second, verdict="unsure", note="blurred")
        assert server.decide(third, third["label"]).json()["verdict"] == "confirmed"
        assert server.start()["undo"][0]["id"] == boxed["id"]
        assert server.get("/api/guide?class=burr").json()["examples"][0]["row"] == first["row"]
        summary = server.stop()
    assert server.process.returncode == 130
    assert summary["records"] == {"confirmed": 1, "corrected": 1, "unsure": 1, "rejected": 0, "withdrawn": 0}
    assert (summary["reviewed"], summary["disputed"], summary["left"]) == (3, 0, 9)
    assert (summary["seconds_median"], summary["estimate"]) == (1.5, None)
    assert read_reviews(out)["how"].tolist() == ["box", "single", "single"]


def test_answers_of_the_audit_make_an_estimate(out):
    with running_review_server(out, "--order", "audit", "--audit", 1) as server:
        row = server.start()["rows"][0]
        assert row["blind"]
        for kind in ("overlay", "map", "seeds", "similar"):
            assert server.get(f"/api/{kind}/{row['row']}").status == 403
        assert server.get(f"/api/photo/{row['row']}").status == 200
        server.decide(row, "open")
        assert server.get(f"/api/map/{row['row']}").status == 200
        summary = server.stop(signal.SIGTERM)
    assert server.process.returncode == 143
    assert summary["estimate"] == {"n": 1, "k": 0, "low": 0.0, "high": pytest.approx(0.975)}


def test_an_empty_session_leaves_no_file(out):
    with running_review_server(out):
        assert len(session_files(out)) == 1
    assert session_files(out) == []


def test_killed_and_started_again_on_the_same_port(out):
    """The page resends what it is not sure of, with the same ids."""
    server = start_review_server(out, "--audit", 0)
    rows = server.start()["rows"]
    server.get(f"/api/thumbnail/{rows[0]['row']}")  # the workers have been at work
    ids = [server.decide(row, "ok").json()["id"] for row in rows[:3]]
    server.stop(signal.SIGKILL)
    assert server.process.returncode == -signal.SIGKILL
    with running_review_server(out, "--audit", 0, "--port", server.port) as again:
        assert again.port == server.port
        assert again.token != server.token
        start = again.start()
        assert (start["done"], start["undo"]) == (3, [])
        assert not {row["row"] for row in rows[:3]} & set(start["queue"])
        answers = [again.decide(row, "ok", id=key) for row, key in zip(rows, [*ids, "f" * 32], strict=False)]
        assert [answer.json()["repeated"] for answer in answers] == [True, True, True, False]
    assert read_reviews(out)["id"].tolist() == [*ids, "f" * 32]


def test_two_sessions_disagree_and_a_third_record_resolves_it(out):
    with (
        running_review_server(out, "--who", "anna", "--audit", 0) as anna,
        running_review_server(out, "--who", "ben", "--audit", 0) as ben,
    ):
        row = anna.start()["rows"][0]
        ids = [anna.decide(row, "ok").json()["id"], ben.decide(row, "open").json()["id"]]
        changes = anna.get("/api/changes?since=0").json()
        truth = changes["rows"][0]["truth"]
        assert (truth["state"], truth["who"], truth["answers"]) == ("disputed", ["anna", "ben"], ["ok", "open"])
        assert (changes["next"], changes["counts"]["disputed"]) == (1, 1)
        assert ben.decide(row, "open", replaces=ids).json()["row"]["truth"]["state"] == "reviewed"
        changes = anna.get("/api/changes?since=1").json()
        assert (changes["next"], changes["rows"][0]["truth"]["label"]) == (2, "open")
        assert anna.get("/api/changes?since=2&classes=3").json()["rows"] == []
        ben.post("/api/classes", {"name": "burr"})
        assert anna.get("/api/changes?since=2&classes=3").json()["classes"][3]["name"] == "burr"
        assert anna.stop()["disputed"] == 0


def test_full_disk_loses_nothing(out):
    with running_review_server(out, "--audit", 0) as server:
        rows = server.start()["rows"]
        server.decide(rows[0], "ok")
        (session,) = session_files(out)
        before = session.read_bytes()
        hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (len(before) + 100, hard))
        answer = server.decide(rows[1], "ok", id="e" * 32)
        assert answer.status == 507
        assert answer.json()["error"].startswith(f"can't write {session}: File too large")
        assert session.read_bytes() == before
        assert server.start()["done"] == 0
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        answer = server.decide(rows[1], "ok", id="e" * 32)
        assert (answer.status, answer.json()["repeated"]) == (200, False)
    assert read_reviews(out)["id"].tolist()[1:] == ["e" * 32]


def test_disk_full_before_the_start_and_read_only_one(tmp_path):
    with small_disks() as mount_disk:
        remount = mount_disk(tmp_path / "disk", "1m")
        out = make_review_folder(tmp_path / "disk")
        remount("ro")
        code, stdout, stderr = run_review(out)
        assert (code, stdout, stderr.count("\n")) == (1, "", 1)
        assert "Read-only file system" in stderr


def test_photos_browsers_cannot_show(tmp_path):
    source, out = tmp_path / "photos", tmp_path / "out"
    source.mkdir()
    photos = {
        "a.jpg": with_orientation(quadrants(), "JPEG", 6, quality=95),
        "b.tif": with_orientation(quadrants(), "TIFF", 6),
        "c.jpg": encoded(quadrants().convert("CMYK"), "JPEG", quality=95),
        "d.png": b"damaged",
    }
    for name, content in photos.items():
        (source / name).write_bytes(content)
    write_run(out, source, [photo_row(source, name, width=48, height=32) for name in photos])
    with running_review_server(out, "--audit", 0) as server:
        original = server.get("/api/photo/0")
        assert (original.content, original.headers["content-type"]) == (photos["a.jpg"], "image/jpeg")
        tag = original.headers["etag"]
        assert server.get("/api/photo/0", If_None_Match=tag).status == 304
        for row in (1, 2):
            rendition = server.get(f"/api/photo/{row}")
            assert rendition.headers["content-type"] == "image/png"
            picture = Image.open(io.BytesIO(rendition.content))
            assert (picture.size, looks_like_quadrants(picture)) == ((48, 32), True)
        for row in range(3):
            assert looks_like_quadrants(Image.open(io.BytesIO(server.get(f"/api/thumbnail/{row}").content)), 25)
        assert server.get("/api/photo/3").status == 422
        assert "supported format" in server.get("/api/photo/3").json()["error"]
        (source / "a.jpg").unlink()
        (source / "b.tif").write_bytes(photos["b.tif"] + b"\0")
        assert [server.get(f"/api/photo/{row}").status for row in range(3)] == [404, 409, 200]


def test_hostile_names_travel_as_text(tmp_path):
    source, out = tmp_path / "photos", tmp_path / "out"
    source.mkdir()
    rows = [make_row(name, content_hash=f"{number:032x}", label=name) for number, name in enumerate(HOSTILE)]
    write_run(out, source, rows)
    with running_review_server(out, "--audit", 0, "--who", HOSTILE[0]) as server:
        start = server.start()
        assert sorted(row["path"] for row in start["rows"]) == sorted(HOSTILE)
        assert {each["name"] for each in start["classes"]} >= set(HOSTILE) - {"a\nb.png"}
        for row in start["rows"]:
            assert server.decide(row, HOSTILE[1], note=row["path"]).status == 200
            assert 400 <= server.get(f"/api/photo/{row['row']}").status < 500
    reviews = read_reviews(out)
    assert sorted(reviews["note"]) == sorted(HOSTILE)
    assert set(reviews["who"]) == {HOSTILE[0]}
    (session,) = session_files(out)
    assert session.parent == out / "reviews"


def test_a_folder_without_photos_any_more(tmp_path, out):
    (tmp_path / "photos").rename(tmp_path / "moved")
    with running_review_server(out) as server:
        start = server.start()
        assert "is gone, so photos can't be shown" in start["warnings"][0]
        assert server.get("/api/photo/0").status == 404


def test_taken_port(out):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, stdout, stderr = run_review(out, "--port", taken.getsockname()[1])
    assert (code, stdout) == (2, "")
    assert "can't listen on 127.0.0.1 (Address already in use); name another --port, or 0" in stderr
    assert session_files(out) == []


def test_folders_that_cannot_be_reviewed(tmp_path):
    code, _, stderr = run_review(tmp_path)
    assert (code, stderr.count("\n")) == (2, 1)
    assert "is not a results folder" in stderr
    failed, damaged = tmp_path / "failed", tmp_path / "damaged"
    write_run(failed, tmp_path / "photos", [make_row("a.png", **FAILED)])
    code, _, stderr = run_review(failed)
    assert (code, stderr.count("\n")) == (2, 1)
    assert "has nothing to review: 1 failed photos" in stderr
    write_run(damaged, tmp_path / "photos", [make_row("a.png")])
    flip_a_bit(part_files(damaged)[0], "score")
    code, _, stderr = run_review(damaged)
    assert (code, stderr.count("\n")) == (1, 1)
    assert "--repair sets it aside" in stderr


def test_an_empty_queue_is_said_on_the_page(out):
    with running_review_server(out, "--order", "disputed") as server:
        start = server.start()
        assert start["queue"] == []
        assert start["warnings"][0].startswith("nothing to show")


def test_help_names_every_option():
    _, stdout, _ = run_review("--help")
    assert all(word in stdout for word in ("--order", "--who", "--second-opinion", "--i-know-others-can-see-it"))


def test_the_browser_is_opened(out, tmp_path):
    """BROWSER is the user's choice of a browser, here a script."""
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    script.chmod(0o755)
    with subprocess.Popen(
        [*FRESH_COMMAND, "review", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BROWSER": str(script)},
    ) as process:
        address = opened.read_text()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT)
    assert re.fullmatch(r"http://127.0.0.1:\d+/#token=\S{43}\n", address)
    assert f"Review at {address}" in stderr
