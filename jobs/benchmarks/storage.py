"""Object storage beside a local disk: whole runs with a simulated device, photos and results in a bucket of moto.

moto is a server on this machine, written in Python: no network, but many times the work of a real one for a request.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock
from urllib.request import Request, urlopen

from jobs.benchmarks.materials import VIT_B_16, save_checkpoint, save_linked_photos
from jobs.benchmarks.timing import Figure, time_in_turn
from jobs.benchmarks.watched_device import SimulatedDevice, run_watched
from pipeline.storage.location import Location, ObjectUrl
from pipeline.storage.storage import open_storage

_PHOTOS = 1500
_SECONDS_PER_IMAGE = 0.005


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure runs over the same photos on a disk and in a bucket."""
    photos = save_linked_photos(folder / "small", _PHOTOS)
    checkpoint = save_checkpoint(replace(VIT_B_16, name="one-layer", layers=1), folder)
    simulated = partial(SimulatedDevice, seconds_per_image=_SECONDS_PER_IMAGE)

    def run_once(source: Location, results: Location) -> None:
        run_watched(
            folder, checkpoint, simulated, overlays=False, workers=2, batch_size=32, device="cpu", precision="fp32",
            input=source, out=results / str(time.monotonic_ns()),
        )  # fmt: skip

    with _run_moto() as bucket:
        storage = open_storage(bucket / "photos")
        for file in sorted(photos.iterdir()):
            storage.put(file.name, file.read_bytes())
        variants = {
            "bucket": partial(run_once, bucket / "photos", bucket / "results"),
            "disk": partial(run_once, photos, folder / "results"),
        }
        timings = time_in_turn(variants, rounds)
    question = f"{_PHOTOS:,} photos of 300x300 by moto / by a local disk, a simulated device of 5 ms a photo"
    return [Figure(question, timings.ratio("bucket", "disk"), 1.15, detail=timings.format_medians())]


@contextmanager
def _run_moto() -> Iterator[ObjectUrl]:
    """Run an S3 server in a process of its own, with an empty bucket."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        endpoint = next(match[1] for line in server.stderr if (match := re.search(r"Running on (http\S+)", line)))
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)  # its log must not fill up
        environment = {
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }  # fmt: skip
        with mock.patch.dict(os.environ, environment), urlopen(Request(f"{endpoint}/bench", method="PUT")):
            yield ObjectUrl("s3", "bench")
    finally:
        server.kill()
        server.wait()
        drain.wait()
