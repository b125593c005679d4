"""`vitrollout overlays` as a command: its last line, exit codes, mistakes, Ctrl-C."""

import json
import signal
import subprocess

import pytest

import pipeline
from tests.helpers.commands import run_vitrollout, start_vitrollout
from tests.helpers.photos import save_photos


@pytest.fixture(scope="module")
def many_rows(tmp_path_factory, many_photos, tiny_vit):
    """A results folder of many photos without overlays."""
    out = tmp_path_factory.mktemp("rows") / "out"
    pipeline.run(input=many_photos, out=out, model=str(tiny_vit), overlays="none")
    return out


@pytest.fixture
def out(tmp_path, tiny_vit):
    """A results folder of four photos without overlays, and its report."""
    save_photos(tmp_path / "photos", 4)
    pipeline.run(input=tmp_path / "photos", out=tmp_path / "out", model=str(tiny_vit), overlays="none", workers=1)
    return tmp_path / "out"


def test_last_line_report_and_exit_code(tmp_path, out):
    shown = (out / "report").rglob("rows-*.js")
    assert all('"thumbnail": null' in text or '"thumbnail":null' in text for text in map(read, shown))
    done = run_vitrollout("overlays", out, "--where", 'status == "ok" and path != "photo-0000.png"')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "chosen": 3, "drawn": 3, "already_drawn": 0, "changed": 0, "unreadable": 0, "interrupted": False,
    }  # fmt: skip
    assert any("thumbnails/" in text for text in map(read, (out / "report").rglob("rows-*.js")))
    (tmp_path / "photos" / "photo-0000.png").unlink()
    done = run_vitrollout("overlays", out)
    assert done.returncode == 3
    assert "photo-0000.png: is gone from the input folder" in done.stderr


def read(file):
    return file.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wher", "score<0.8"], "No such option '--wher'"),
        (["--where", "score<high"], "score needs a number"),
        (["--style", "pretty", "--limit", "0"], "2 settings are wrong"),
    ],
    ids=str,
)
def test_mistakes_are_2(out, arguments, words):
    done = run_vitrollout("overlays", out, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_is_drawn(many_rows, number, code):
    drawn_before = pipeline.read_results(many_rows, ["overlay"])["overlay"].notna().sum()
    pictures = len(list((many_rows / "overlays").iterdir()))
    process = start_vitrollout("overlays", many_rows, "--overlay-size", "16", "--workers", "1")
    while len(list((many_rows / "overlays").iterdir())) == pictures:
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"ended before its first overlay: {process.stderr.read()}")
    process.send_signal(number)
    stdout, stderr = process.communicate()
    assert process.returncode == code, stderr
    outcome = json.loads(stdout.splitlines()[-1])
    assert outcome["interrupted"]
    assert outcome["already_drawn"] == drawn_before
    overlays = pipeline.read_results(many_rows, ["overlay"])["overlay"].dropna()
    assert len(overlays) == drawn_before + outcome["drawn"]
    assert all((many_rows / name).exists() for name in overlays)
    assert len(list((many_rows / "overlays").iterdir())) == len(overlays)
