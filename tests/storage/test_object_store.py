"""Commits and faults of object stores, over a real server."""

import os
import socket
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pipeline.errors import ConfigError, StoreError
from pipeline.storage.clients import at_start, open_client
from pipeline.storage.files import list_files, read_bytes
from pipeline.storage.location import ObjectUrl
from pipeline.storage.object_store import ObjectStorage, find_object
from tests.helpers.object_server import SECRET_KEY, ForgetfulStore, all_names, run_server

_CREATORS = 8


def test_one_of_many_creators_wins(bucket):
    storage, barrier = ObjectStorage(bucket), Barrier(_CREATORS)

    def create_in_turn(creator):
        won = []
        for number in range(10):
            barrier.wait()
            won.append(storage.create(f"table/{number}", str(creator).encode()))
        return won

    with ThreadPoolExecutor(_CREATORS) as threads:
        outcomes = list(threads.map(create_in_turn, range(_CREATORS)))
    for number in range(10):
        winners = [creator for creator in range(_CREATORS) if outcomes[creator][number]]
        assert [read_bytes(bucket / "table" / str(number)).decode()] == list(map(str, winners))


class ConflictingStore(ForgetfulStore):
    """A store whose first answers to PUT are conflicts, with nothing written."""

    def do_PUT(self):  # noqa: N802
        self.server.objects.setdefault("conflicts", []).append(1)
        if len(self.server.objects["conflicts"]) < 3:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(409)
        else:
            super().do_PUT()


class LostAnswerStore(ForgetfulStore):
    """A store that writes, and fails to say so at the first time."""

    def do_PUT(self):  # noqa: N802
        content = self.rfile.read(int(self.headers["Content-Length"]))
        taken = self.key() in self.server.objects
        self.server.objects.setdefault(self.key(), content)
        self.answer(412 if taken else 500)


class DenyingStore(ForgetfulStore):
    """A store that refuses every request, and tells a lot about it."""

    def do_GET(self):  # noqa: N802
        text = f"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>{SECRET_KEY}</StringToSign></Error>"
        self.answer(403, text.encode())

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self):  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()


@pytest.fixture
def forgetful(request, monkeypatch, object_server):
    """A prefix in the store of the class given as the parameter."""
    with run_server(getattr(request, "param", ForgetfulStore)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        yield ObjectUrl("s3", "forgetful", "results")


@pytest.mark.parametrize("forgetful", [ConflictingStore], indirect=True)
def test_conflict_with_nothing_written_is_tried_again(forgetful):
    assert ObjectStorage(forgetful).create("x", b"content")
    assert read_bytes(forgetful / "x") == b"content"


@pytest.mark.parametrize("forgetful", [LostAnswerStore], indirect=True)
def test_lost_answer_counts_as_taken(forgetful):
    assert not ObjectStorage(forgetful).create("x", b"content")
    assert read_bytes(forgetful / "x") == b"content"


def test_probe_leaves_nothing_behind(bucket):
    ObjectStorage(bucket / "results").probe()
    assert all_names(bucket) == []


def test_store_without_conditions_is_refused(forgetful):
    with pytest.raises(ConfigError) as caught:
        ObjectStorage(forgetful).probe()
    assert str(caught.value) == (
        "s3://forgetful/results: ignores conditional writes, so two runs could write the same rows; use another store"
    )


@pytest.mark.parametrize("forgetful", [DenyingStore], indirect=True)
def test_no_permission(forgetful):
    with pytest.raises(ConfigError) as caught:
        ObjectStorage(forgetful).probe()
    assert "access is denied (SignatureDoesNotMatch); check AWS_ACCESS_KEY_ID" in str(caught.value)
    assert SECRET_KEY not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(StoreError, match="access is denied"):
        read_bytes(forgetful / "x")


def test_no_such_bucket(object_server):
    url = ObjectUrl("s3", "no-such-bucket", "results")
    reason = rf"^s3://no-such-bucket: there is no such bucket at {object_server.endpoint[7:]}; create it, or correct"
    with pytest.raises(ConfigError, match=reason):
        ObjectStorage(url).probe()
    with pytest.raises(StoreError, match=reason):
        list_files(url)
    with pytest.raises(ConfigError, match=reason), at_start():
        list_files(url)


def test_no_answer(monkeypatch, object_server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET_KEY.replace('/', '')}@{host}")
        with pytest.raises(ConfigError) as caught:
            ObjectStorage(ObjectUrl("s3", "bucket", "results")).probe()
    assert str(caught.value).endswith(f"{host} doesn't answer; check the network and AWS_ENDPOINT_URL, then run again")
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "no credentials in the environment; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_SKIP_SIGNATURE=true for a public bucket",
        ),
        ({"AWS_SECRET_ACCESS_KEY": None}, "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY; set them too"),
        ({"AWS_ENDPOINT_URL": "localhost:9000"}, "AWS_ENDPOINT_URL is not a whole URL; write it as https://HOST:PORT"),
        ({"AWS_ENDPOINT_URL": "http://host:x"}, "AWS_ENDPOINT_URL is not a whole URL; write it as https://HOST:PORT"),
    ],
)
def test_environment_is_checked_before_any_request(monkeypatch, object_server, changes, reason):
    for name, value in changes.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        find_object(ObjectUrl("s3", "bucket", "x"))
    assert str(caught.value) == f"s3://bucket: {reason}"


@pytest.mark.parametrize(
    ("scheme", "name"), [("gs", "GOOGLE_APPLICATION_CREDENTIALS"), ("az", "AZURE_STORAGE_ACCOUNT")]
)
def test_other_clouds_ask_for_their_own_credentials(monkeypatch, scheme, name):
    for variable in list(os.environ):
        if variable.startswith(("GOOGLE_", "AZURE_")):
            monkeypatch.delenv(variable)
    with pytest.raises(ConfigError, match=f"no credentials in the environment; set {name}"):
        find_object(ObjectUrl(scheme, "bucket", "x"))


def test_public_bucket_needs_no_credentials(monkeypatch, object_server, bucket):
    object_server.put_object(bucket, "x", b"content")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert read_bytes(bucket / "x") == b"content"


def test_without_the_package(monkeypatch, object_server):
    for name in ("obstore", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"object stores need a package; pip install 'vitrollout\[cloud\]'"):
        list_files(ObjectUrl("s3", "bucket-of-nobody"))


def test_forked_process_is_refused(bucket):
    """It would wait for ever: a fork copies no threads, and the client needs its own."""
    open_client(bucket)
    pid = os.fork()
    if pid == 0:
        try:
            read_bytes(bucket / "x")
        except RuntimeError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
