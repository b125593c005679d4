"""Files renamed into place, on disks that can't promise to keep them and on disks that fail."""

import errno
import os
import stat

import pytest

from pipeline import atomic_files
from pipeline.atomic_files import atomic_write_path
from pipeline.errors import StoreError


@pytest.fixture
def refuse_flush(monkeypatch):
    """Lets fsync answer with an error number, for folders, or for files too."""
    real = os.fsync

    def refuse(number, *, files=False):
        def fsync(descriptor):
            if files or stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            return real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    return refuse


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch):
    monkeypatch.setattr(atomic_files, "_disks_without_flush", set())


def write_file(folder, name="a.json"):
    with atomic_write_path(folder / name, folder) as temporary:
        temporary.write_text("content")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
@pytest.mark.parametrize("files", [False, True])
def test_a_disk_without_fsync_is_said_once(tmp_path, refuse_flush, caplog, number, files):
    refuse_flush(number, files=files)
    (tmp_path / "other").mkdir()
    for folder, name in ((tmp_path, "a"), (tmp_path, "b"), (tmp_path / "other", "a")):
        write_file(folder, name)
        assert [file.name for file in folder.iterdir() if file.is_file()].count(name) == 1
    messages = [record.message for record in caplog.records]
    assert len(messages) == 1
    assert f"{tmp_path}: its disk can't flush files ({os.strerror(number)})" in messages[0]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failing_disk_is_an_error(tmp_path, refuse_flush, number):
    refuse_flush(number)
    with pytest.raises(StoreError, match=os.strerror(number)):
        write_file(tmp_path)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES])
def test_a_folder_that_can_not_be_opened_is_no_failure(tmp_path, monkeypatch, number):
    real = os.open

    def refuse_folders(path, *rest, **more):
        if os.path.isdir(path):
            raise OSError(number, os.strerror(number))
        return real(path, *rest, **more)

    monkeypatch.setattr(atomic_files.os, "open", refuse_folders)
    write_file(tmp_path)
    assert (tmp_path / "a.json").read_text() == "content"
