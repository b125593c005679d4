"""Half an hour of kills over object storage: `make soak`, not part of `make test`.

Photos and results lie in buckets of a real S3 server. Coordinators and device processes are killed at random moments,
or stopped and woken after others have taken over, two coordinators run at once, and the archive changes meanwhile. At
the end each photo has one row, equal to that of a plain run.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest

import pipeline
from pipeline.results.compact import compact
from pipeline.results.names import part_files
from pipeline.results.open_run import read_open_runs
from pipeline.results.parts import read_part
from pipeline.storage.storage import open_storage
from tests.helpers.commands import run_fresh_vitrollout, start_vitrollout
from tests.helpers.device_processes import device_processes_of
from tests.helpers.image_files import encoded, smooth_photo
from tests.helpers.models import save_tiny_vit

MINUTES = float(os.environ.get("MINUTES", "30"))
SEED = int(os.environ.get("SEED", "0"))
LONGEST_RUN = 12.0  # seconds until a kill

pytestmark = pytest.mark.soak


class BucketSoak:
    """The archive, its results, and what happens to them."""

    def __init__(self, base, server):
        self.random, self.server = random.Random(SEED), server
        bucket = server.make_bucket()
        self.photos, self.out = bucket / "photos", bucket / "results"
        self.storage, self.model = open_storage(self.photos), save_tiny_vit(base / "model")
        self.contents, self.number = {}, 0
        self.sleepers = []
        self.done = Counter()
        for _ in range(120):
            self.new_photo()

    def new_photo(self):
        self.number += 1
        self.replace(f"line-{self.number % 5}/{self.number:06d}.png")

    def replace(self, name):
        content = encoded(smooth_photo(40, 40, seed=self.random.randrange(2**31)), "PNG")
        self.storage.put(name, content)
        self.contents[name] = content

    def grow(self):
        for _ in range(self.random.randint(0, 30)):
            self.new_photo()
        for name in self.random.sample(list(self.contents), self.random.randint(0, 5)):
            self.replace(name)

    def command(self):
        words = ["run", self.photos, "--out", self.out, "--model", self.model, "--precision", "fp32", "--device", "cpu"]
        words += ["--devices", self.random.choice([1, 2]), "--batch-size", 4, "--part-rows", 8, "--no-report"]
        return [*map(str, words), "--overlays", "none"]

    def start(self):
        return start_vitrollout(*self.command(), environment=self.server.environment())

    def let_run(self, process):
        """Let a run work for a while; return whether it has ended by itself."""
        try:
            process.wait(timeout=self.random.uniform(0, LONGEST_RUN))
        except subprocess.TimeoutExpired:
            return False
        self.expect_end(process)
        return True

    def expect_end(self, process):
        _, said = process.communicate()
        assert process.returncode in (0, 3), said
        assert "Traceback" not in said, said

    def kill_coordinator(self):
        process = self.start()
        if not self.let_run(process):
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            process.stderr.close()
            self.done["coordinators killed"] += 1

    def kill_worker(self):
        process = self.start()
        if not self.let_run(process):
            for worker in device_processes_of(process.pid)[:1]:
                os.kill(worker, signal.SIGKILL)
                self.done["workers killed"] += 1
            self.expect_end(process)

    def stop_worker(self):
        """Stop a worker and kill its coordinator; it wakes when others have taken over."""
        process = self.start()
        if not self.let_run(process):
            for worker in device_processes_of(process.pid)[:1]:
                os.kill(worker, signal.SIGSTOP)
                self.sleepers.append(worker)
                self.done["workers stopped"] += 1
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            process.stderr.close()

    def wake_workers(self):
        for worker in self.sleepers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)
        self.sleepers.clear()

    def run_two(self):
        processes = [self.start(), self.start()]
        for process in processes:
            self.expect_end(process)
        self.done["two at once"] += 1

    def run_to_the_end(self):
        self.expect_end(self.start())
        self.done["runs to the end"] += 1
        self.wake_workers()

    def compact(self):
        if part_files(self.out):
            compact(self.out)
            self.done["compactions"] += 1


def test_nothing_is_lost_or_written_twice(tmp_path, object_server, capsys):
    soak = BucketSoak(tmp_path, object_server)
    end = time.monotonic() + 60 * MINUTES
    while time.monotonic() < end:
        soak.grow()
        soak.random.choice(
            [soak.kill_coordinator, soak.kill_coordinator, soak.kill_worker, soak.stop_worker, soak.run_two,
             soak.run_to_the_end, soak.compact]
        )()  # fmt: skip
    soak.run_to_the_end()
    soak.run_to_the_end()  # photos replaced while the one before read them

    assert read_open_runs(soak.out) == []
    keys = [(row["path"], row["run_id"]) for part in part_files(soak.out) for row in rows_of(part)]
    assert len(keys) == len(set(keys)), "a photo was written twice in a run"
    compact(soak.out)
    assert sum(len(read_part(part, ["path"])) for part in part_files(soak.out)) == len(soak.contents)
    table = pipeline.read_results(str(soak.out)).set_index("path")
    assert set(table.index) == set(soak.contents)
    for name, content in soak.contents.items():
        assert table.loc[name, "content_hash"] == hashlib.blake2b(content, digest_size=16).hexdigest(), name
    compare_with_plain_run(soak, table, tmp_path)
    with capsys.disabled():
        print("\n" + json.dumps({"minutes": MINUTES, "photos": len(table), **soak.done}))


def rows_of(part):
    return read_part(part, ["path", "run_id"]).to_pylist()


def compare_with_plain_run(soak, table, folder):
    done = run_fresh_vitrollout(
        "run", soak.photos, "--out", folder / "plain", "--model", soak.model, "--precision", "fp32", "--overlays",
        "none", "--no-report", "--batch-size", 4, env={**os.environ, **soak.server.environment()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plain = pipeline.read_results(folder / "plain").set_index("path").loc[table.index]
    assert (plain["label"].astype(str) == table["label"].astype(str)).all()
    np.testing.assert_allclose(np.stack(table["logits"]), np.stack(plain["logits"]), atol=1e-5)
    np.testing.assert_allclose(np.stack(table["attention"]), np.stack(plain["attention"]), atol=1e-6)
