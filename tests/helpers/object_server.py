"""Object stores for tests: moto's S3 server, and a tiny one that ignores conditions. Each is a real server."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from pipeline.storage.location import ObjectUrl
from pipeline.storage.object_store import ObjectStorage, walk_objects

ACCESS_KEY, SECRET_KEY = "AKIDOFTESTS", "the+secret/of+tests"
_bucket_numbers = count()


class ObjectServer:
    """A running S3 server.

    Attributes:
        endpoint: its URL.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def environment(self) -> dict[str, str]:
        """Return the environment of its users."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def make_bucket(self) -> ObjectUrl:
        """Create a bucket of another name than all before it."""
        name = f"bucket-{os.getpid()}-{next(_bucket_numbers)}"
        self._send("PUT", name)
        return ObjectUrl("s3", name)

    def put_object(self, bucket: ObjectUrl, key: str, content: bytes) -> None:
        """Write an object by a plain request, whatever its key; everybody may read it."""
        self._send("PUT", f"{bucket.bucket}/{quote(key)}", content)

    def _send(self, method: str, path: str, content: bytes | None = None) -> None:
        headers = {"x-amz-acl": "public-read", "Content-Type": "application/octet-stream"}
        with urlopen(Request(f"{self.endpoint}/{path}", method=method, data=content, headers=headers)):
            pass


@contextmanager
def run_moto() -> Iterator[ObjectServer]:
    """Run moto's S3 server in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        for line in process.stderr:  # it says so once it listens
            if "Running on" in line:
                break
        reader = threading.Thread(target=process.stderr.read)  # or its log would fill the pipe
        reader.start()
        yield ObjectServer(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


class ForgetfulStore(BaseHTTPRequestHandler):
    """Objects in memory, written whatever the conditions of the request."""

    def do_PUT(self) -> None:
        self.server.objects[self.key()] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200)

    def do_GET(self) -> None:
        content = self.server.objects.get(self.key())
        self.answer(404 if content is None else 200, content or b"")

    do_HEAD = do_GET  # noqa: N815

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.key(), None)
        self.answer(204)

    def key(self) -> str:
        return unquote(urlsplit(self.path).path)

    def answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("ETag", '"same"')
        self.send_header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def run_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[ObjectServer]:
    """Run a store of this handler in a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.objects = {}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ObjectServer(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def upload_folder(folder: Path, prefix: ObjectUrl) -> None:
    """Write all files of a folder below a prefix."""
    storage = ObjectStorage(prefix)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            storage.put(file.relative_to(folder).as_posix(), file.read_bytes())


def all_names(prefix: ObjectUrl) -> list[str]:
    """List all objects below a prefix."""
    return sorted(entry.name for chunk in walk_objects(prefix) for entry in chunk)
