"""One process at a time in a folder, with locks of the system and without."""

import errno
import fcntl
import os
import signal
import socket

import pytest

from pipeline.errors import FolderBusyError
from pipeline.folder_lock import FolderLock
from tests.helpers.fork_server import FORK_SERVER

BUSY = "the folder is held"


@pytest.fixture
def no_locks(monkeypatch):
    """A disk without locks, by the answer that it gives."""

    def refuse(number):
        def flock(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return refuse


def lock_and_die(folder, number):
    """Take the lock of a folder on a disk without locks, and be killed."""

    def flock(*_):
        raise OSError(number, os.strerror(number))

    fcntl.flock = flock
    with FolderLock(folder, busy=BUSY):
        os.kill(os.getpid(), signal.SIGKILL)


def test_locks_of_the_system(tmp_path):
    first, second = (FolderLock(tmp_path, busy=BUSY) for _ in range(2))
    with first:
        with pytest.raises(FolderBusyError, match=f"^{BUSY}$"):
            second.acquire()
        second.release()
    with second:
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_disk_without_locks(tmp_path, no_locks, number, caplog):
    no_locks(number)
    with FolderLock(tmp_path, busy=BUSY):
        with pytest.raises(FolderBusyError) as caught:
            FolderLock(tmp_path, busy=BUSY).acquire()
        holder = f"held by process {os.getpid()} on {socket.gethostname()}"
        assert f"{BUSY} ({holder}; if it no longer runs, remove {tmp_path}/.lock.holder)" == str(caught.value)
        assert "its disk has no locks" in caplog.text
    with FolderLock(tmp_path, busy=BUSY):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP])
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, no_locks, number, caplog):
    process = FORK_SERVER.Process(target=lock_and_die, args=(tmp_path, number))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / ".lock.holder").exists()
    no_locks(number)
    with FolderLock(tmp_path, busy=BUSY):
        assert "took over the lock of a process that has ended" in caplog.text
    assert not (tmp_path / ".lock.holder").exists()


@pytest.mark.parametrize(
    ("content", "holder"), [("7\nnas-2\n", "process 7 on nas-2"), ("", "a process without a name")]
)
def test_the_lock_of_another_host_stays_until_it_is_removed(tmp_path, no_locks, content, holder):
    no_locks(errno.ENOSYS)
    file = tmp_path / ".lock.holder"
    file.write_text(content)
    for _ in range(2):
        with pytest.raises(FolderBusyError, match=f"held by {holder}; if it no longer runs, remove {file}"):
            FolderLock(tmp_path, busy=BUSY).acquire()
    file.unlink()
    with FolderLock(tmp_path, busy=BUSY):
        pass


def test_other_faults_are_errors(tmp_path, no_locks):
    no_locks(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        FolderLock(tmp_path, busy=BUSY).acquire()
