"""The command on a folder of everything that can be wrong: one row each, under its own name, and the rest is right."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageCms, PngImagePlugin

import jobs.run
import pipeline
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.photos.decode import register_heif
from pipeline.photos.discover import discover
from pipeline.photos.load_photo import LoadSpec, load_sample
from tests.helpers.image_files import encoded, frames, png_bomb, smooth_photo, tiff_bytes, with_orientation

ROOT = Path(__file__).parents[2]
HAS_HEIF = register_heif()

# Loaded by every Python process of the run: what a broken decoder does, and what others do to files meanwhile.
SABOTAGE = """
import builtins, os, signal, threading
from PIL import ImageFile

def hang():
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
    threading.Event().wait()

DEEDS = {"abort": os.abort, "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV), "hang": hang}
real_load, real_open = ImageFile.ImageFile.load, open

def load(image):
    DEEDS.get(image.info.get("deed"), lambda: None)()
    return real_load(image)

def open_meddled_with(file, *args, **options):
    name = os.path.basename(file) if isinstance(file, str) else ""
    if name == "vanishes.png":
        os.unlink(file)
    elif name == "changes.png" and os.path.exists(file + ".new"):
        os.replace(file + ".new", file)
    return real_open(file, *args, **options)

ImageFile.ImageFile.load, builtins.open = load, open_meddled_with
"""


@dataclass(frozen=True)
class Expected:
    """What a row must say: an ok one has no reason."""

    path_bytes: bytes | None = None
    reason: str | None = None
    note: str | None = None


class HostileFolder:
    """Files, and what their rows must say."""

    def __init__(self, root):
        self.root = os.fsencode(root)
        self.rows = {}

    def add(self, name, data, *, path=None, note=None, reason=None):
        """A file. `path` is what the table calls it, where its name is not UTF-8."""
        raw = os.fsencode(name)
        file = os.path.join(self.root, raw)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        if data is not None:
            with open(file, "wb") as stream:
                stream.write(data)
        self.rows[path or name] = Expected(raw if path else None, reason, note)
        return file

    def picture(self, **options):
        """A picture unlike every other, also in size."""
        number = len(self.rows)
        return smooth_photo(60 + number, 200 - number, seed=number, **options)

    def photo(self, name, file_format="PNG", **options):
        """A photo unlike every other."""
        path = options.pop("path", None)
        return self.add(name, encoded(self.picture(), file_format, **options), path=path)


def add_odd_names(folder):
    for name in ("with space.png", " spaces .png", "quote'\".png", "new\nline.png", "tab\there.png", "-rf.png"):
        folder.photo(name)
    for name in (
        "\N{CAMERA}\N{FIRE}/\N{CAMERA}.png",
        "ü.png",
        "u\u0308.png",
        "back\\slash.png",
        "$(x)`;&.png",
        "%s{0}.png",
    ):
        folder.photo(name)
    folder.photo("a" * 251 + ".png")
    folder.photo("a" * 250 + "b.png")
    folder.photo("\N{CAMERA}" * 62 + "abc.png")
    folder.photo("d" * 255 + "/" + "e" * 251 + ".png")
    folder.photo(os.fsdecode(b"caf\xe9/\xff.png"), path=r"caf\xe9/\xff.png")
    folder.photo(r"real\xff.png")
    folder.photo(os.fsdecode(b"real\xff.png"), path=r"real\\xff.png")
    folder.photo(os.fsdecode(b"\xf0" * 251 + b".png"), path=r"\xf0" * 251 + ".png")
    for name, file_format in (("twin.jpg", "JPEG"), ("twin.png", "PNG"), ("twin.gif", "GIF"), ("twin.JPG", "JPEG")):
        folder.photo(name, file_format)
    folder.photo("x.jpg", "JPEG")
    folder.photo("x.jpg.png/inside.png")
    folder.photo("x.jpg.png~/inside.png")
    folder.photo("folder.jpg/inside.png")


def add_odd_contents(folder):
    picture = folder.picture
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    deep = np.asarray(smooth_photo(77, 99).convert("L")).astype(np.uint16) * 100
    folder.add("grey.png", encoded(picture().convert("L"), "PNG"))
    folder.add("palette.png", encoded(picture().quantize(9), "PNG", transparency=bytes([0, 90, 255])))
    folder.add("cmyk.jpg", encoded(picture().convert("CMYK"), "JPEG"))
    folder.add("lab.tif", encoded(ImageCms.applyTransform(picture(), lab), "TIFF"))
    folder.add("one-bit.png", encoded(picture().convert("1"), "PNG"))
    folder.add("alpha.png", encoded(picture().convert("LA"), "PNG"))
    folder.add("16-bit.png", encoded(Image.fromarray(deep), "PNG"))
    folder.add("16-bit.tif", tiff_bytes(deep[1:, 1:], big_endian=True))
    folder.add("float.tiff", tiff_bytes(deep[2:, 2:].astype(np.float32) / 7 - 50))
    folder.add("turned.jpg", with_orientation(picture(), "JPEG", 6))
    folder.add("png-in-truth.jpg", encoded(picture(), "PNG"))
    for file_format in ("GIF", "WEBP", "TIFF", "PNG", "MPO"):
        folder.add(f"frames.{file_format}", frames(file_format), note="first of 3 frames")
    if HAS_HEIF:
        folder.photo("photo.heic", "HEIF")


def add_broken_contents(folder):
    whole = encoded(smooth_photo(300, 300), "JPEG")
    folder.add("truncated.jpg", whole[: len(whole) // 2], reason="truncated")
    folder.add("zero.jpg", b"", reason="empty file")
    folder.add("text.jpg", b"hello", reason="not an image")
    folder.add("corrupt.png", encoded(smooth_photo(90, 90), "PNG")[:-400] + bytes(400), reason="broken PNG file")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    folder.add("eps.jpg", eps, reason="not an image")
    folder.add("bomb.png", png_bomb(15_811, 15_811), reason="15811 x 15811 pixels are more than max_pixels")
    for deed, reason in (("abort", "exit code -6"), ("segfault", "exit code -11"), ("hang", "took longer than 8 s")):
        text = PngImagePlugin.PngInfo()
        text.add_text("deed", deed)
        folder.add(f"{deed}.png", encoded(folder.picture(), "PNG", pnginfo=text), reason=reason)


def add_odd_files(folder, outside):
    root = os.fsdecode(folder.root)
    folder.photo("linked-to.png")
    (outside / "far.png").write_bytes(encoded(folder.picture(), "PNG"))
    (outside / "linked-folder").mkdir()
    (outside / "linked-folder" / "hidden.png").write_bytes(encoded(folder.picture(), "PNG"))
    for name, target in (("inside-link.png", "linked-to.png"), ("outside-link.png", outside / "far.png")):
        os.symlink(target, f"{root}/{name}")
        folder.add(name, None)
    for name, target, reason in (
        ("dangling.png", "nowhere", "No such file"),
        ("loop.png", "loop.png", "Too many levels"),
    ):
        os.symlink(target, f"{root}/{name}")
        folder.add(name, None, reason=reason)
    os.symlink(outside / "linked-folder", f"{root}/linked-folder")
    os.symlink(".", f"{root}/in-circles")
    os.mkfifo(f"{root}/pipe.png")
    folder.add("pipe.png", None, reason="not a regular file")
    os.chmod(folder.add("unreadable.png", encoded(folder.picture(), "PNG"), reason="Permission denied"), 0)
    folder.add("vanishes.png", encoded(folder.picture(), "PNG"), reason="vanished")
    changes = folder.photo("changes.png")
    Path(os.fsdecode(changes) + ".new").write_bytes(encoded(smooth_photo(33, 44, seed=44), "PNG"))
    os.makedirs(f"{root}/closed")
    Path(f"{root}/closed/unseen.png").write_bytes(encoded(folder.picture(), "PNG"))
    os.chmod(f"{root}/closed", 0)


class Commands:
    """Runs the command on the hostile folder."""

    def __init__(self, base, model, give_up_root_access):
        self.out = base / "out"
        self._source = base / "photos"
        self._model = model
        self._preexec = give_up_root_access
        (base / "site").mkdir()
        (base / "site" / "sitecustomize.py").write_text(SABOTAGE)
        (base / "bin").mkdir()
        self.ghostscript_ran = base / "ghostscript-ran"
        (base / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {self.ghostscript_ran}\n")
        (base / "bin" / "gs").chmod(0o755)
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{base}/site",
            "PATH": f"{base}/bin:{os.environ['PATH']}",
            "PYTHONWARNINGS": "",
        }

    def run(self, *options):
        command = [sys.executable, "-m", "jobs.cli", "run", self._source, "--out", self.out, "--model", self._model]
        command += ["--precision", "fp32", "--batch-size", "5", "--workers", "3", "--overlay-opacity", "0"]
        return subprocess.run(
            [*map(str, command), "--decode-seconds", "8", *options],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self._environment,
            preexec_fn=self._preexec,
            check=False,
        )


@pytest.fixture(scope="module")
def commands(tmp_path_factory, tiny_vit, give_up_root_access):
    base = tmp_path_factory.mktemp("hostile")
    yield Commands(base, tiny_vit, give_up_root_access)
    for closed in (base / "photos" / "closed", base / "photos" / "unreadable.png"):
        if closed.exists():
            closed.chmod(0o700)  # or it can't be removed


@pytest.fixture(scope="module")
def folder(commands):
    base = commands.out.parent
    (base / "outside").mkdir()
    folder = HostileFolder(base / "photos")
    add_odd_names(folder)
    add_odd_contents(folder)
    add_broken_contents(folder)
    add_odd_files(folder, base / "outside")
    return folder


@pytest.fixture(scope="module")
def first_run(commands, folder):
    return commands.run()


@pytest.fixture(scope="module")
def table(commands, first_run):
    assert first_run.returncode == 3, first_run.stderr
    return pipeline.read_results(commands.out).set_index("path")


def test_run_ends_well_and_says_that_some_failed(folder, first_run):
    assert first_run.returncode == 3
    assert "Traceback" not in first_run.stderr
    summary = json.loads(first_run.stdout.splitlines()[-1])
    failed = sum(expected.reason is not None for expected in folder.rows.values())
    assert (summary["found"], summary["processed"]) == (len(folder.rows), len(folder.rows))
    assert (summary["failed"], summary["ok"]) == (failed, len(folder.rows) - failed)
    assert summary["unreadable_folders"] == 1
    assert "closed" in first_run.stderr


def test_every_file_has_its_row(folder, table):
    assert sorted(table.index) == sorted(folder.rows)
    for path, expected in folder.rows.items():
        row = table.loc[path]
        assert row["path_bytes"] == expected.path_bytes, path
        assert row["status"] == ("ok" if expected.reason is None else "failed"), (path, row["error"])


def test_failed_rows_say_why(folder, table):
    for path, expected in folder.rows.items():
        error = table.loc[path, "error"]
        if expected.reason is None:
            assert pd.isna(error), path
        else:
            assert expected.reason in error, path


def test_notes(folder, table):
    for path, expected in folder.rows.items():
        note = table.loc[path, "note"]
        assert (None if pd.isna(note) else note) == expected.note, path


def test_contents_and_predictions_belong_to_their_names(commands, folder, table, tiny_vit):
    """Each ok row against the same photo, alone, in this process."""
    classifier = load_classifier(resolve_checkpoint(str(tiny_vit)), device=torch.device("cpu"), precision="fp32")
    spec = LoadSpec(classifier.processor, classifier.geometry.draft_size, 1024, 178_000_000)
    every_logits = []
    for ref in discover(Path(os.fsdecode(folder.root))).refs:
        if ref.path not in folder.rows or folder.rows[ref.path].reason is not None:
            continue  # root sees into the closed folder
        row, sample = table.loc[ref.path], load_sample(ref, spec)
        assert row["content_hash"] == sample.content_hash, ref.path
        assert (row["width"], row["height"]) == (sample.width, sample.height), ref.path
        assert row["file_bytes"] == sample.ref.file_bytes == os.stat(ref.file).st_size
        assert row["mtime"].value == sample.ref.mtime_ns
        output = classifier.predict(torch.from_numpy(sample.pixels[None]), MapPlan())
        logits, attention = output.logits[0], output.maps["rollout"][0]
        np.testing.assert_allclose(row["logits"], logits, atol=1e-4, err_msg=ref.path)
        np.testing.assert_allclose(row["attention"], attention.ravel(), atol=1e-5, err_msg=ref.path)
        with Image.open(commands.out / row["overlay"]) as overlay:  # at an opacity of 0 the photo itself
            assert (np.asarray(overlay) == sample.photo).all(), ref.path
        every_logits.append(tuple(np.round(logits, 3)))
    assert len(set(every_logits)) >= len(every_logits) - 6, "photos too much alike prove nothing"  # links, frames


def test_file_that_changed_is_what_it_was_when_read(table):
    assert (table.loc["changes.png", "width"], table.loc["changes.png", "height"]) == (33, 44)


def test_every_overlay_is_its_own_and_there_are_no_others(commands, table):
    named = table["overlay"].dropna()
    assert named.is_unique
    there = {str(file.relative_to(commands.out)) for file in (commands.out / "overlays").rglob("*") if file.is_file()}
    assert set(named) == there


def test_results_folder_is_clean(commands, first_run):
    assert first_run.returncode == 3
    assert {file.suffix for file in (commands.out / "table").iterdir()} == {".parquet"}
    assert list((commands.out / "tmp").iterdir()) == []


def test_no_program_is_started_for_a_photo(commands, first_run):
    assert first_run.returncode == 3
    assert not commands.ghostscript_ran.exists()


def test_second_run_tries_only_photos_out_of_reach(commands, folder, table):
    """Nothing is done twice, also for names that are escaped, and for what has no size and time."""
    out_of_reach = table.index.isin(["hang.png", "unreadable.png"])
    again = commands.run()
    summary = json.loads(again.stdout.splitlines()[-1])
    assert (summary["found"], summary["processed"]) == (len(folder.rows) - 1, 2), "one vanished"
    assert (summary["gone"], summary["failed_again"], again.returncode) == (1, 2, 3)
    assert summary["standing"] == sum(table["status"] == "failed") - 3, "two tried again, one gone"
    after = pipeline.read_results(commands.out).set_index("path")
    assert list(after.index) == list(table.index)
    assert list(after["run_id"].astype(str) != table["run_id"].astype(str)) == list(out_of_reach)


# In this process, where one run is enough to see it


def test_linked_folders_are_entered_when_asked_and_loops_end(tmp_path, tiny_vit):
    photos, outside = tmp_path / "photos", tmp_path / "outside"
    for folder in (photos, outside):
        folder.mkdir()
        (folder / "a.png").write_bytes(encoded(smooth_photo(40, 40), "PNG"))
    (photos / "link").symlink_to(outside)
    (photos / "circle").symlink_to(".")
    (outside / "back").symlink_to(photos)
    found = {}
    for follow_links in (False, True):
        out = tmp_path / f"out-{follow_links}"
        pipeline.run(
            pipeline.RunConfig(input=photos, out=out, model=str(tiny_vit), workers=1, follow_links=follow_links)
        )
        found[follow_links] = pipeline.read_results(out)["path"].tolist()
    assert found == {False: ["a.png"], True: ["a.png", "link/a.png"]}


ODD_FOLDERS = {
    "odd": "new\nline \N{CAMERA}".encode(),
    "not UTF-8": b"caf\xe9 \xff",
}


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_input_folder_with_an_odd_name_of_its_own(tmp_path, tiny_vit, name):
    photos = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), ODD_FOLDERS[name])))
    photos.mkdir()
    (photos / "a.png").write_bytes(encoded(smooth_photo(40, 40), "PNG"))
    command = [str(photos), "--out", str(tmp_path / "out"), "--model", str(tiny_vit), "--workers", "1"]
    for processed in (1, 0):  # it is the same input folder the second time
        result = CliRunner().invoke(jobs.run.run_command, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        summary = json.loads(result.stdout.splitlines()[-1])
        assert (summary["processed"], summary["input"]) == (processed, str(photos))


def test_table_reads_back_in_every_row(commands, table):
    """Odd names are in the way of nobody who opens the table."""
    import duckdb
    import polars

    pattern = f"{commands.out}/table/*.parquet"
    assert sorted(duckdb.sql(f"select distinct path from '{pattern}'").df()["path"]) == sorted(table.index)
    assert sorted(polars.read_parquet(pattern)["path"].unique()) == sorted(table.index)
