"""A running `vitrollout review`, and a results folder to review."""

import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np

from pipeline.photos.content import hash_stream
from tests.helpers.commands import FRESH_COMMAND, start_vitrollout
from tests.helpers.photos import save_photos
from tests.helpers.tables import make_row, write_run

TIMEOUT = 60  # seconds; nothing here takes nearly so long


@dataclass(frozen=True)
class Answer:
    """An answer of the server."""

    status: int
    content: bytes
    headers: Any

    def json(self):
        return json.loads(self.content)


class ReviewServer:
    """A server in a process of its own.

    Attributes:
        url: of the page, with the token in its fragment.
        token: the secret of the address.
        port: of 127.0.0.1.
        process: with pid, returncode, send_signal and the like.
        stdout, stderr: its output, after `stop` or `wait`.
    """

    def __init__(self, out, *options, fresh=False):
        """Start it and wait for its address.

        Args:
            out: results folder.
            options: of the command line.
            fresh: in a new Python, imports and all.
        """
        words = list(map(str, ("review", out, "--no-browser", *options)))
        if fresh:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            self.process = subprocess.Popen([*FRESH_COMMAND, *words], **pipes)
        else:
            self.process = start_vitrollout(*words)
        self.stdout, self.stderr, self.url = "", "", ""
        for line in self.process.stderr:
            self.stderr += line
            if match := re.search(r"http://\S+/#token=(\S+)", line):
                self.url, self.token = match[0], match[1]
                break
        else:
            self.wait()
            raise AssertionError(f"no address from the server: {self.stderr}")
        self.port = int(re.search(r":(\d+)/#", self.url)[1])

    def get(self, path, **headers) -> Answer:
        """Send a GET with the token; `headers` replace those of a page, None leaves one out."""
        return self.send("GET", path, None, **headers)

    def post(self, path, content, **headers) -> Answer:
        """Send JSON; see `get`."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.send("POST", path, body, **{"Content-Type": "application/json", **headers})

    def send(self, method, path, body, **headers) -> Answer:
        headers = {"X-Review-Token": self.token, **{name.replace("_", "-"): value for name, value in headers.items()}}
        headers = {name: value for name, value in headers.items() if value is not None}
        request = Request(f"http://127.0.0.1:{self.port}{path}", body, headers, method=method)
        try:
            with urlopen(request, timeout=TIMEOUT) as response:
                return Answer(response.status, response.read(), response.headers)
        except HTTPError as error:
            with error:
                return Answer(error.code, error.read(), error.headers)

    def start(self):
        """The first answer to the page."""
        return self.get("/api/start").json()

    def decide(self, row, label=None, verdict=None, **changes):
        """Decide about a ROW as the page does; return the answer."""
        content = {
            "id": os.urandom(16).hex(),
            "row": row["row"],
            "content_hash": row["content_hash"],
            "verdict": verdict or "confirmed",
            "label": label,
            "boxes": [],
            "boxes_complete": False,
            "replaces": [],
            "how": "single",
            "seconds": 1.5,
            "note": None,
        }
        return self.post("/api/records", content | changes)

    def stop(self, number=signal.SIGINT):
        """End the server by a signal; return the JSON of its last line, None if it was killed."""
        if not self.process.stderr.closed:
            self.process.send_signal(number)
            self.wait()
        lines = self.stdout.splitlines()
        return json.loads(lines[-1]) if lines else None

    def wait(self):
        """Wait for its end; return the exit code."""
        stdout, stderr = self.process.communicate()
        self.stdout, self.stderr = self.stdout + stdout, self.stderr + stderr
        return self.process.returncode


def start_review_server(out, *options, **how) -> ReviewServer:
    """Start a server for a results folder on a free port; `options` of the command line are added."""
    return ReviewServer(out, *options, **how)


@contextmanager
def running_review_server(out, *options, **how):
    """Start a server, and end it after the block."""
    server = start_review_server(out, *options, **how)
    try:
        yield server
    finally:
        server.stop()


def photo_row(source: Path, name: str, **changes):
    """Return the row of a photo of 48 x 40 pixels as a run would have written it; `changes` replace columns."""
    file = source / name
    status = file.stat()
    with file.open("rb") as stream:
        content_hash = hash_stream(stream)
    columns = {
        "content_hash": content_hash,
        "file_bytes": status.st_size,
        "mtime": status.st_mtime_ns,
        "width": 48,
        "height": 40,
        "grid": (4, 4),
        "attention": np.eye(4, dtype=np.float32).ravel(),
        "more_maps": [("libragrad", np.array([0.1] * 5 + [3.0] + [0.1] * 10, np.float32))],
        "map_box": [0.0, 0.0, 48.0, 40.0],
        "overlay": None,
        "model": "models/three",
        "top_labels": ["short", "ok", "open"],
        "top_scores": np.array([0.75, 0.2, 0.05], np.float32),
        "logits": np.array([2.0, 3.0, 1.0], np.float32),
    }
    return make_row(name, **{**columns, **changes})


def make_review_folder(folder: Path, count: int = 12) -> Path:
    """Make photos in `folder/photos` and the results folder `folder/results` of a run over them; return the latter."""
    source, out = folder / "photos", folder / "results"
    rows = []
    for number, name in enumerate(save_photos(source, count)):
        score = 0.5 + 0.4 * number / count
        scores = np.array([score, 1 - score - 0.01, 0.01], np.float32)
        label, other, label_id = ("short", "ok", 1) if number % 2 else ("ok", "short", 0)
        logits = np.array([2.0, 1.0, 0.0] if label == "ok" else [1.0, 2.0, 0.0], np.float32)
        rows.append(
            photo_row(
                source, name, label=label, label_id=label_id, score=score, top_labels=[label, other, "open"],
                top_scores=scores, logits=logits,
            )
        )  # fmt: skip
    write_run(out, source, rows)
    return out
