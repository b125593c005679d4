"""Half an hour of everything that can go wrong at once: `make soak`, not part of `make test`.

A results folder on a small disk is run over again and again, killed, stopped, filled up, compacted, and its archive
changed meanwhile. At the end every file has one right row, and nothing is left behind.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.results.compact import compact
from tests.helpers.image_files import encoded, smooth_photo
from tests.helpers.models import save_tiny_vit

MINUTES = float(os.environ.get("MINUTES", "30"))
SEED = int(os.environ.get("SEED", "0"))
MARK = "VITROLLOUT_SOAK"  # in the environment of every process that is started here

pytestmark = pytest.mark.soak


class Soak:
    """The archive, its results folder, and what happens to them."""

    def __init__(self, base, remount):
        self.random = random.Random(SEED)
        self.photos, self.disk = base / "photos", base / "disk"
        self.out = self.disk / "out"
        self.model = save_tiny_vit(base / "model")
        self.remount = remount
        self.contents = {}  # what each file shall hold in the end
        self.number = 0
        self.codes = Counter()
        for _ in range(40):
            self.new_photo()

    # --- the archive

    def photo(self):
        self.number += 1
        size = self.random.randint(30, 90), self.random.randint(30, 90)
        return encoded(smooth_photo(*size, seed=self.number), "PNG")

    def put(self, name, data):
        file = self.photos / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def new_photo(self):
        data = self.photo()
        name = f"line-{self.number % 5}/{self.number:06d}.png"
        self.contents[name] = data
        self.put(name, data)

    def upload(self):
        """A photo of which only the beginning is there; the rest comes later."""
        data = self.photo()
        name = f"line-{self.number % 5}/{self.number:06d}.png"
        self.contents[name] = data
        self.put(name, data[: len(data) // 2])

    def finish_uploads(self):
        for name, data in self.contents.items():
            if (self.photos / name).stat().st_size != len(data):
                self.put(name, data)

    def replace(self):
        name = self.random.choice(list(self.contents))
        self.contents[name] = self.photo()
        self.put(name, self.contents[name])

    def remove(self):
        if len(self.contents) > 100:
            name = self.random.choice(list(self.contents))
            (self.photos / name).unlink()
            del self.contents[name]

    def grow(self):
        for _ in range(self.random.randint(0, 15)):
            self.random.choice([self.new_photo, self.new_photo, self.replace, self.upload, self.remove])()
        if self.random.random() < 0.3:
            self.finish_uploads()

    # --- the commands

    def start(self, *words):
        command = [sys.executable, "-m", "jobs.cli", *map(str, words)]
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, MARK: "1"},
            cwd=Path(__file__).parents[2],
        )

    def start_run(self):
        words = ["run", self.photos, "--out", self.out, "--model", self.model, "--precision", "fp32"]
        return self.start(*words, "--batch-size", 4, "--part-rows", 8, "--workers", 2)

    def ended(self, process, *expected):
        _, said = process.communicate()
        self.codes[process.returncode] += 1
        assert process.returncode in expected, said
        assert "Traceback" not in said, said

    def some_time(self):
        return self.random.uniform(0, 6)

    def run(self):
        self.ended(self.start_run(), 0, 3)

    def kill(self, process=None):
        process = process or self.start_run()
        try:
            process.wait(timeout=self.some_time())
        except subprocess.TimeoutExpired:
            process.kill()
        self.ended(process, 0, 3, -signal.SIGKILL)

    def stop(self):
        process = self.start_run()
        try:
            process.wait(timeout=3 + self.some_time())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
        self.ended(process, 0, 3, 143, -signal.SIGTERM)  # the last: before the command could catch it

    def two_at_once(self):
        first, second = self.start_run(), self.start_run()
        self.ended(first, 0, 3, 75)
        self.ended(second, 0, 3, 75)

    def full_disk(self):
        ballast = self.disk / "ballast"
        with ballast.open("wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                pass
        try:
            self.ended(self.start_run(), 0, 1, 3)
        finally:
            ballast.unlink()

    def compact(self):
        self.ended(self.start("compact", self.out), 0)

    def kill_compact(self):
        self.kill(self.start("compact", self.out))


def processes():
    """Command lines of the living processes that were started here."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"{MARK}=1".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes())
        except OSError:
            continue  # it has ended
    return found


def test_soak(tmp_path, mount, capsys):
    shared_memory = sorted(os.listdir("/dev/shm"))
    soak = Soak(tmp_path, mount(tmp_path / "disk", "40m"))
    soak.run()
    actions = [soak.run, soak.kill, soak.kill, soak.stop, soak.two_at_once, soak.full_disk, soak.compact]
    actions.append(soak.kill_compact)
    done = Counter()
    end = time.monotonic() + 60 * MINUTES
    while time.monotonic() < end:
        soak.grow()
        action = soak.random.choice(actions)
        action()
        done[action.__name__] += 1
        rows = pipeline.read_results(soak.out, ["path"])["path"]
        assert rows.is_unique

    soak.finish_uploads()
    soak.run()
    compact(soak.out, prune=True)
    table = pipeline.read_results(soak.out).set_index("path")
    assert sorted(table.index) == sorted(soak.contents)
    assert (table["status"] == "ok").all(), table["error"].dropna().to_dict()
    for name, data in soak.contents.items():
        assert table.loc[name, "content_hash"] == hashlib.blake2b(data, digest_size=16).hexdigest()
    fresh = pipeline.RunConfig(
        input=soak.photos, out=tmp_path / "fresh", model=str(soak.model), precision="fp32", workers=1, batch_size=4
    )
    pipeline.run(fresh)
    expected = pipeline.read_results(fresh.out).set_index("path").loc[table.index]
    np.testing.assert_allclose(np.stack(table["logits"]), np.stack(expected["logits"]), atol=1e-4)
    np.testing.assert_allclose(np.stack(table["attention"]), np.stack(expected["attention"]), atol=1e-5)

    overlays = {str(file.relative_to(soak.out)) for file in (soak.out / "overlays").rglob("*") if file.is_file()}
    assert overlays == set(table["overlay"])
    for name in overlays:
        assert (soak.out / name).read_bytes() == (fresh.out / name).read_bytes()
    assert list((soak.out / "tmp").iterdir()) == []
    assert processes() == []
    assert sorted(os.listdir("/dev/shm")) == shared_memory
    with capsys.disabled():
        ends = {str(code): count for code, count in soak.codes.most_common()}
        print("\n" + json.dumps({"minutes": MINUTES, "files": len(table), "actions": dict(done), "exit_codes": ends}))


def test_handles_stay_the_same_over_many_runs(tmp_path):
    """In one process, as a service that uses the library has it."""
    model = save_tiny_vit(tmp_path / "model")
    handles = []
    (tmp_path / "photos").mkdir()
    for number in range(30):
        (tmp_path / "photos" / f"{number}.png").write_bytes(encoded(smooth_photo(40, 40, seed=number), "PNG"))
        pipeline.run(pipeline.RunConfig(input=tmp_path / "photos", out=tmp_path / "out", model=str(model), workers=2))
        handles.append(len(os.listdir("/proc/self/fd")))
    assert max(handles[5:]) <= handles[4], handles
