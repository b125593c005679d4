"""What tests share: no network, tiny checkpoints, many photos, and a process without the rights of root."""

import ctypes
import logging
import os
from contextlib import contextmanager
from functools import cache

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, and for the commands that tests start
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads cost tiny models more than they give, by far on a busy machine

_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2  # capabilities: root may read and write any file
_EFFECTIVE = 0
_LONGEST_FIRST = ("tests/whole/", "tests/training/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, put the longest tests first, so that no worker is left alone with them at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST_FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Escape names that are not UTF-8 in the log of a test, or it can't be sent from a worker of pytest-xdist."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def _log_handlers_stay():
    """Remove the handler left behind by a command that a test calls in its own process: its file is closed by then."""
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    root.handlers[:] = before


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory):
    """The folder of a random ViT classifier: 3 layers, 32 pixels, patches of 8, three labels."""
    from tests.helpers.models import save_tiny_vit

    return save_tiny_vit(tmp_path_factory.mktemp("tiny-vit"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A function from a name in `TINY_MODELS` to the folder of that checkpoint, saved once; not to be changed."""
    from tests.helpers.models import make_checkpoint

    return cache(lambda name: make_checkpoint(tmp_path_factory.mktemp(name), name))


@pytest.fixture(scope="session")
def many_photos(tmp_path_factory):
    """The folder of 1,500 photos, enough for a signal to come while they are processed; not to be changed."""
    from tests.helpers.photos import save_photos

    folder = tmp_path_factory.mktemp("many-photos")
    save_photos(folder, 1500)
    return folder


@pytest.fixture(scope="session")
def moto_server():
    """A running S3 server, one for all tests of this process."""
    from tests.helpers.object_server import run_moto

    with run_moto() as server:
        yield server


@pytest.fixture
def object_server(moto_server, monkeypatch):
    """The same server, named in the environment."""
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    return moto_server


@pytest.fixture
def bucket(object_server):
    """The URL of a bucket without objects."""
    return object_server.make_bucket()


@pytest.fixture
def file_permissions_hold():
    """A context in which file permissions hold, also where the tests run as root."""
    return _without_root_access


@pytest.fixture(scope="session")
def give_up_root_access():
    """A function for `preexec_fn`: file permissions hold in the new process, also where the tests run as root."""
    if os.geteuid() != 0:
        return lambda: None
    libc = ctypes.CDLL(None, use_errno=True)
    drop_from_bounding_set = 24

    def give_up():
        for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            libc.prctl(drop_from_bounding_set, capability, 0, 0, 0)

    return give_up


@contextmanager
def _without_root_access():
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    before, dropped = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    if libc.capget(header, before) != 0:
        pytest.skip("root can't give up its access rights here")
    dropped[:] = before[:]
    dropped[_EFFECTIVE] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    if libc.capset(header, dropped) != 0:
        pytest.skip("root can't give up its access rights here")
    try:
        yield
    finally:
        libc.capset(header, before)
